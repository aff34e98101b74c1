//! Repeats one case, for callgrind and for the count of allocations.

use std::hint::black_box;
use std::sync::Arc;

use forge_core::TokenSource;
use forge_storage_memory::InMemoryTokenStorage;

use crate::Failure;
use crate::peers::{self, AnyPeer, OURS, Ours, PEERS};
use crate::world::{HOUR, World};

/// Runs the case. Calls `begin` after the setup.
///
/// # Errors
///
/// There is no such case, or its setup failed.
pub fn run(case: &str, times: usize, begin: impl FnOnce()) -> Result<(), Failure> {
    let world = World::new()?;
    let handle = world.callers.handle();
    let server = world.callers.block_on(world.token_server(Default::default(), HOUR))?;
    match case {
        "with_token" | "header" => {
            let manager = {
                let _runtime = handle.enter();
                peers::manager(&server)?
            };
            world.callers.block_on(manager.get_token())?;
            let source: &dyn TokenSource = &manager;
            let once = || {
                if case == "header" {
                    black_box(source.cached().map(|credential| credential.header_value().clone()));
                } else {
                    black_box(manager.with_token(|token| token.access_token().len()));
                }
            };
            // The first repetition also sets up the state of its thread.
            once();
            begin();
            for _ in 0..times {
                once();
            }
        }
        _ => {
            let peer = world.callers.block_on(async {
                let peer: Arc<dyn AnyPeer> = if case == MEMORY {
                    Arc::new(Ours::over(&server, InMemoryTokenStorage::new())?)
                } else {
                    let entry = PEERS.iter().chain([&OURS]).find(|entry| entry.name == case);
                    entry.ok_or_else(|| format!("there is no case `{case}`"))?.connect(&server).await?
                };
                peer.token().await?;
                Ok::<_, Failure>(peer)
            })?;
            begin();
            black_box(peer.time(handle, times));
        }
    }
    Ok(())
}

/// The case of a manager over the storage in memory.
pub const MEMORY: &str = "memory";
