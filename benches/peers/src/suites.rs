//! The suites, one file each.

mod cold_start;
mod dropped;
mod failing;
mod header;
mod hit;
mod rotation;
mod storm;
mod two_threads;
mod working;

use crate::Failure;
use crate::world::World;

/// Runs the suite with this name.
pub fn run(name: &str, quick: bool) -> Result<(), Failure> {
    let suite = match name {
        "hit" => hit::run,
        "two_threads" => two_threads::run,
        "header" => header::run,
        "cold_start" => cold_start::run,
        "dropped" => dropped::run,
        "failing" => failing::run,
        "rotation" => rotation::run,
        _ => return Err(format!("there is no suite `{name}`").into()),
    };
    suite(&World::new()?, quick)
}
