//! Token calls that buy each other's tokens: who is called, how often, with what, and what happens when a step
//! is refused, fails or hangs. The same tests over a storage in the process and over Redis.

#![cfg(unix)]
#![allow(clippy::expect_used)]

/// Each of these tests over each kind of storage.
macro_rules! over_each_storage {
    ($($test:ident),* $(,)?) => {
        mod over_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::world::World::over_memory().await).await;
            })*
        }

        mod over_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::world::World::over_redis().await).await;
            })*
        }
    };
}

mod answers;
mod cookies;
mod crowd;
mod documents;
mod lazy;
mod processes;
mod rejected;
mod shared;
mod trouble;
mod world;

// The processes of a fleet. More of it is of use elsewhere.
#[allow(dead_code)]
#[path = "../fleet/member.rs"]
mod member;
#[allow(dead_code)]
#[path = "../fleet/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../fleet/redis.rs"]
mod redis;
#[path = "../servers/one.rs"]
mod servers;
