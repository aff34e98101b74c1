//! Who does not work at all may look good: a failure takes no time, and no token calls.

use std::time::Duration;

use crate::Failure;
use crate::peers::{OURS, PEERS};
use crate::world::{HOUR, World};

/// Whether ours and all peers bring a token from a server that works.
///
/// # Errors
///
/// Someone does not, and who that is.
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
