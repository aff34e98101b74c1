//! Pipelines against a server that counts the calls of each step, and that refuses, fails or hangs as a test says. The
//! tests run over a storage in the process and over Redis.

#![cfg(unix)]
#![allow(clippy::expect_used)]

/// Runs each of these tests over each kind of storage.
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

// The processes of a fleet. Other suites use the parts that are dead code here.
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
