//! The Lua scripts: the server runs each as one atomic step. All keys of a script are in one slot.

use std::fmt;

use redis::{Pipeline, Script};

pub(crate) struct Scripts {
    sources: Vec<String>,
    pub(crate) read: Script,
    pub(crate) set: Script,
    pub(crate) delete: Script,
    pub(crate) delete_if: Script,
    pub(crate) acquire: Script,
    pub(crate) extend: Script,
    pub(crate) store: Script,
    pub(crate) fail: Script,
    pub(crate) mark_refresh_token: Script,
    pub(crate) clear_mark: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        let mut sources = Vec::new();
        let mut script = |body| {
            let source = [include_str!("scripts/common.lua"), body].concat();
            let script = Script::new(&source);
            sources.push(source);
            script
        };
        Self {
            read: script(include_str!("scripts/read.lua")),
            set: script(include_str!("scripts/set.lua")),
            delete: script(include_str!("scripts/delete.lua")),
            delete_if: script(include_str!("scripts/delete_if.lua")),
            acquire: script(include_str!("scripts/acquire.lua")),
            extend: script(include_str!("scripts/extend.lua")),
            store: script(include_str!("scripts/store.lua")),
            fail: script(include_str!("scripts/fail.lua")),
            mark_refresh_token: script(include_str!("scripts/mark_refresh_token.lua")),
            clear_mark: script(include_str!("scripts/clear_mark.lua")),
            sources,
        }
    }

    /// Adds commands to this pipeline that load all scripts.
    pub(crate) fn load(&self, pipe: &mut Pipeline) {
        for source in &self.sources {
            pipe.cmd("SCRIPT").arg("LOAD").arg(source).ignore();
        }
    }
}

/// The script that gives a lease back. It is sent as text, because a dropped lease cannot wait to learn whether the
/// server knows it.
pub(crate) const RELEASE: &str = include_str!("scripts/release.lua");

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use forge_core::TokenData;

    #[test]
    fn inv20_the_scripts_read_records_as_long_as_those_that_are_written() {
        let common = include_str!("scripts/common.lua");
        assert!(common.contains(&format!("length > {} ", TokenData::MAX_RECORD_LENGTH)));
    }
}
