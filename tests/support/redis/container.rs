//! A Redis server in a container.

use std::fmt::Debug;
use std::io;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::redis::ask::Access;
use crate::redis::finder::Image;
use crate::redis::setup::Setup;
use crate::redis::{Server, port};

/// Where servers run. The official image has this folder, any other gets it.
const FOLDER: &str = "/data";
/// A second, on a machine that has nothing else to do.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often the engine is asked whether a container that does not answer has ended.
const LOOK: Duration = Duration::from_millis(500);
/// For anything else that an engine does.
const LIMIT: Duration = Duration::from_secs(30);

/// A server.
pub(super) struct Container {
    running: Running,
    port: u16,
    access: Access,
}

/// One loopback interface with its ports, for the containers of several servers.
pub(super) struct Network {
    running: Running,
}

struct Running {
    /// `None` only when dropped.
    container: Option<ContainerAsync<GenericImage>>,
}

impl Container {
    /// In a network of its own, or in that of the container with the id `network`.
    pub(super) async fn start(image: &Image, network: Option<&str>, setup: Setup) -> io::Result<Self> {
        let Setup { port, access, arguments, files } = setup;
        let ports = if network.is_none() { &[port][..] } else { &[] };
        let running = Running::start(image, network, ports, arguments, files).await?;
        let server = Self { running, port, access };
        server.answers().await?;
        Ok(server)
    }

    /// Waits until it answers, or has ended.
    async fn answers(&self) -> io::Result<()> {
        let container = self.running.container()?;
        let ended = async {
            // What the engine does not know now it may know later.
            while container.is_running().await.unwrap_or(true) {
                sleep(LOOK).await;
            }
            io::Error::other("it ended at once")
        };
        let answered = port::until_answered(self.port, &self.access, START_LIMIT, || false);
        let error = tokio::select! {
            answered = answered => match answered {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            error = ended => error,
        };
        let said = [container.stdout_to_vec().await, container.stderr_to_vec().await];
        let said = said.map(Result::unwrap_or_default).concat();
        Err(io::Error::new(error.kind(), format!("{error}\n{}", String::from_utf8_lossy(&said))))
    }
}

impl Network {
    /// It lives as long as its container, which is none of the servers, since they may be killed.
    pub(super) async fn start(image: &Image, ports: &[u16]) -> io::Result<Self> {
        // Nobody speaks to it, but a container has to run something.
        let idle = ["--port", "0", "--unixsocket", "idle.sock", "--save", ""].map(ToOwned::to_owned);
        Ok(Self { running: Running::start(image, None, ports, idle.into(), Vec::new()).await? })
    }

    pub(super) fn id(&self) -> io::Result<&str> {
        Ok(self.running.container()?.id())
    }
}

impl Running {
    async fn start(
        image: &Image,
        network: Option<&str>,
        ports: &[u16],
        arguments: Vec<String>,
        files: Vec<(String, String)>,
    ) -> io::Result<Self> {
        let network = network.map(|id| format!("container:{id}"));
        let mut request = GenericImage::new(&image.name, &image.tag)
            .with_cmd(image.command.iter().cloned().chain(arguments))
            .with_labels(image.labels.clone())
            .with_working_dir(FOLDER)
            .with_host_config_modifier(move |config| {
                if let Some(network) = &network {
                    config.network_mode = Some(network.clone());
                    // By default what the image exposes, which a network of others does not allow.
                    config.publish_all_ports = None;
                }
                let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut());
                for binding in bindings.flatten().flatten() {
                    // By default all interfaces, for the whole network to see.
                    binding.host_ip = Some("127.0.0.1".into());
                }
            });
        for port in ports {
            // A port that the engine chose would be another one after a restart.
            request = request.with_mapped_port(*port, port.tcp());
        }
        for (name, content) in files {
            request = request.with_copy_to(format!("{FOLDER}/{name}"), content.into_bytes());
        }
        let container = done(START_LIMIT, request.start()).await?;
        Ok(Self { container: Some(container) })
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
        done(LIMIT, self.running.container()?.pause()).await
    }

    async fn resume(&self) -> io::Result<()> {
        done(LIMIT, self.running.container()?.unpause()).await
    }

    async fn stop(&mut self) -> io::Result<()> {
        // An engine does not stop what is paused; and what is not paused cannot be resumed.
        let _ = self.resume().await;
        done(LIMIT, self.running.container()?.stop_with_timeout(Some(0))).await
    }

    async fn start_again(&mut self) -> io::Result<()> {
        done(START_LIMIT, self.running.container()?.start()).await?;
        self.answers().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let container = self.container.take();
        // It wants to be dropped on a runtime, and not on that of the test: there may be none, or one that is
        // shutting down; and on any it would wait in the middle of a task, and swallow what wakes the task up.
        let removal = thread::spawn(move || {
            if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                runtime.block_on(async { drop(container) });
            }
        });
        let _ = removal.join();
    }
}

/// Their errors name their cause only in `Debug`.
async fn done<T, E: Debug>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    timeout(limit, work).await?.map_err(|error| io::Error::other(format!("{error:?}")))
}
