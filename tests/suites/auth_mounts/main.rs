//! One suite for every kind of client that authenticates. Our client, its blocking face, the middleware and
//! the layer keep the same promises.
//!
//! A test is a function over a [`Mount`](mount::Mount). `on_each_mount!` makes one test of it for each
//! mount. The promises that only some mounts can give are beside those mounts.

#![allow(clippy::expect_used)]

/// Makes one test for each of these functions and each mount. `tasks only` leaves out the blocking mount,
/// since a test cannot drop a thread that waits.
macro_rules! on_each_mount {
    (tasks only: $($test:ident),+ $(,)?) => {
        on_each_mount!(@client: crate::mount::Client, $($test),+);
        on_each_mount!(@middleware: crate::mount::Middleware, $($test),+);
        on_each_mount!(@layer: crate::mount::Layer, $($test),+);
    };
    ($($test:ident),+ $(,)?) => {
        on_each_mount!(tasks only: $($test),+);
        on_each_mount!(@blocking: crate::mount::Blocking, $($test),+);
    };
    (@$mount:ident: $type:ty, $($test:ident),+) => {
        mod $mount {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test::<$type>().await;
                }
            )+
        }
    };
}

mod callers;
#[path = "../canary/canaries.rs"]
mod canaries;
#[path = "../canary/logs.rs"]
mod logs;
mod mount;
mod origins;
mod rejected;
mod secrets;
mod settings;
mod world;
