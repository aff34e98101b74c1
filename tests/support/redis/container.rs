//! A Redis server in a container.

use std::fmt::Debug;
use std::io;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, timeout};

use crate::redis::finder::Image;
use crate::redis::{SETTINGS, Server, port};

/// Inside of the container.
const PORT: u16 = 6379;
/// A second, on a machine that has nothing else to do.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often the engine is asked whether a container that does not answer has ended.
const LOOK: Duration = Duration::from_millis(500);
/// For anything else that an engine does.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Container {
    /// `None` only when dropped.
    container: Option<ContainerAsync<GenericImage>>,
    port: u16,
}

impl Container {
    pub(super) async fn start(image: &Image, port: u16, args: &[&str]) -> io::Result<Self> {
        let settings = SETTINGS.iter().chain(args).map(ToString::to_string);
        let request = GenericImage::new(&image.name, &image.tag)
            .with_cmd(image.command.iter().cloned().chain(settings))
            .with_labels(image.labels.clone())
            // A port that the engine chose would be another one after a restart.
            .with_mapped_port(port, PORT.tcp())
            .with_host_config_modifier(|config| {
                let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut());
                for binding in bindings.flatten().flatten() {
                    // By default all interfaces, for the whole network to see.
                    binding.host_ip = Some("127.0.0.1".into());
                }
            });
        let container = done(START_LIMIT, request.start()).await?;
        let server = Self { container: Some(container), port };
        server.answers().await?;
        Ok(server)
    }

    /// Waits until it answers, or has ended.
    async fn answers(&self) -> io::Result<()> {
        let container = self.container()?;
        let ended = async {
            // What the engine does not know now it may know later.
            while container.is_running().await.unwrap_or(true) {
                sleep(LOOK).await;
            }
            io::Error::other("it ended at once")
        };
        let error = tokio::select! {
            answered = port::until_answered(self.port, START_LIMIT, || false) => match answered {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            error = ended => error,
        };
        let said = [container.stdout_to_vec().await, container.stderr_to_vec().await];
        let said = said.map(Result::unwrap_or_default).concat();
        Err(io::Error::new(error.kind(), format!("{error}\n{}", String::from_utf8_lossy(&said))))
    }

    fn container(&self) -> io::Result<&ContainerAsync<GenericImage>> {
        self.container.as_ref().ok_or_else(|| io::Error::other("the container is gone"))
    }
}

#[async_trait]
impl Server for Container {
    fn is_container(&self) -> bool {
        true
    }

    async fn pause(&self) -> io::Result<()> {
        done(LIMIT, self.container()?.pause()).await
    }

    async fn resume(&self) -> io::Result<()> {
        done(LIMIT, self.container()?.unpause()).await
    }

    async fn stop(&mut self) -> io::Result<()> {
        // An engine does not stop what is paused; and what is not paused cannot be resumed.
        let _ = self.resume().await;
        done(LIMIT, self.container()?.stop_with_timeout(Some(0))).await
    }

    async fn start_again(&mut self) -> io::Result<()> {
        done(START_LIMIT, self.container()?.start()).await?;
        self.answers().await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let container = self.container.take();
        if let Ok(runtime) = Handle::try_current() {
            // One that is shutting down, as after a failed test, would wait for ever. What is left then is
            // removed by its label.
            let probe = runtime.spawn(std::future::pending::<()>());
            if probe.is_finished() {
                std::mem::forget(container);
            } else {
                probe.abort();
                drop(container);
            }
        } else {
            // It wants to be dropped on a runtime, and a static or a plain thread has none.
            let removal = thread::spawn(move || {
                if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                    runtime.block_on(async { drop(container) });
                }
            });
            let _ = removal.join();
        }
    }
}

/// Their errors name their cause only in `Debug`.
async fn done<T, E: Debug>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    timeout(limit, work).await?.map_err(|error| io::Error::other(format!("{error:?}")))
}
