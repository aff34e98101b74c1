//! A peer that does not work may look good, because a failure takes no time and no token calls.

use std::time::Duration;

use crate::Failure;
use crate::peers::{OURS, PEERS};
use crate::world::{HOUR, World};

/// Checks that our manager and all peers get a token from a working server.
///
/// # Errors
///
/// One of them gets no token. The error names it.
pub fn all_work(world: &World) -> Result<(), Failure> {
    world.callers.block_on(async {
        let server = world.token_server(Duration::ZERO, HOUR).await?;
        for entry in [OURS].iter().chain(&PEERS) {
            entry.with_token(&server).await?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_all_peers_work() {
        all_work(&World::new().unwrap()).unwrap();
    }
}
