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

/// The working folder of the servers. The official image has this folder, and any other image gets it.
const FOLDER: &str = "/data";
/// A second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The time between two questions to the engine whether a silent container has ended.
const LOOK: Duration = Duration::from_millis(500);
/// The limit for any other operation of an engine.
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
    /// Starts the server in a network of its own, or in that of the container with the id `network`.
    pub(super) async fn start(image: &Image, network: Option<&str>, setup: Setup) -> io::Result<Self> {
        let Setup { port, access, arguments, files } = setup;
        let ports = if network.is_none() { &[port][..] } else { &[] };
        let running = Running::start(image, network, ports, arguments, files).await?;
        let server = Self { running, port, access };
        server.answers().await?;
        Ok(server)
    }

    /// Waits until the server answers, or has ended.
    async fn answers(&self) -> io::Result<()> {
        let container = self.running.container()?;
        let ended = async {
            // The engine may know later what it does not know now.
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
    /// The network lives as long as its container. That container is not a server, because a test may kill a
    /// server.
    pub(super) async fn start(image: &Image, ports: &[u16]) -> io::Result<Self> {
        // A container has to run something. Clients do not use this server.
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
                    // By default an engine publishes the ports of the image. In the network of another
                    // container it refuses that.
                    config.publish_all_ports = None;
                }
                let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut());
                for binding in bindings.flatten().flatten() {
                    // By default the port is open on all interfaces, for the whole network.
                    binding.host_ip = Some("127.0.0.1".into());
                }
            });
        for port in ports {
            // A port that the engine chose would change with a restart.
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
        // An engine does not stop a paused container, and it cannot resume one that is not paused.
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
        // The drop of this value needs a runtime, but not the runtime of the test. There may be none, or it
        // may be shutting down. On any other the drop would wait in the middle of a task, and swallow the
        // task's wake-up.
        let removal = thread::spawn(move || {
            if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                runtime.block_on(async { drop(container) });
            }
        });
        let _ = removal.join();
    }
}

/// The engine's errors name their cause only in `Debug`.
async fn done<T, E: Debug>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> io::Result<T> {
    timeout(limit, work).await?.map_err(|error| io::Error::other(format!("{error:?}")))
}
