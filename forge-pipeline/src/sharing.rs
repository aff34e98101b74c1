//! Steps that several pipelines of a process have in common.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use forge_core::{ConfigError, Generation, GenerationId};

use crate::step::Step;

/// The shared steps of the process, for one pipeline at a time while that is built. So all its steps have its
/// means at once: taken in turns, half of one graph and half of another could be a cycle.
pub(crate) struct SharedStepRegistry(MutexGuard<'static, HashMap<GenerationId, Weak<Step>>>);

impl SharedStepRegistry {
    pub(crate) fn lock() -> Self {
        static STEPS: LazyLock<Mutex<HashMap<GenerationId, Weak<Step>>>> = LazyLock::new(Mutex::default);

        Self(STEPS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The step that keeps its token under this counter's key and storage. If there is one already, the
    /// newest means take over: they are those of a configuration that was loaded anew, perhaps.
    ///
    /// A step must hold the counter, so that no other counter gets its identity meanwhile.
    pub(crate) fn step<M>(
        &mut self,
        generation: &Generation,
        definition: M,
        make: impl FnOnce(M) -> Result<Step, ConfigError>,
        replace_definition: impl FnOnce(&Step, M),
    ) -> Result<Arc<Step>, ConfigError> {
        let steps = &mut self.0;
        if let Some(step) = steps.get(&generation.id()).and_then(Weak::upgrade) {
            replace_definition(&step, definition);
            return Ok(step);
        }
        let step = Arc::new(make(definition)?);
        steps.retain(|_, step| step.strong_count() > 0);
        steps.insert(generation.id(), Arc::downgrade(&step));
        Ok(step)
    }
}
