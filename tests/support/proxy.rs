//! A proxy that can be slow, silent or cut.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Forwards connections on 127.0.0.1 to another port there, as a faulty network would. A drop ends all of
/// them.
pub struct Proxy {
    port: u16,
    shared: Arc<SharedState>,
    accepting: AbortHandle,
}

struct SharedState {
    to: u16,
    weather: watch::Sender<Weather>,
    open: AtomicUsize,
    accepted: AtomicUsize,
    turns: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Weather {
    delay: Duration,
    to_server: Flow,
    to_client: Flow,
    /// Connections that began before the last cut end.
    cuts: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Passes,
    /// The data waits until it may pass.
    Held,
    /// The data is lost, and so is all later data on the same connection: a receiver cannot read half a
    /// stream.
    Lost,
}

impl Proxy {
    /// A proxy to this port. It has no fault yet.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let clear =
            Weather { delay: Duration::ZERO, to_server: Flow::Passes, to_client: Flow::Passes, cuts: 0 };
        let shared = Arc::new(SharedState {
            to,
            weather: watch::Sender::new(clear),
            open: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { port, shared, accepting })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The number of connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The number of round trips: how often clients began to send, or went on after their server had sent
    /// something. Data that a client sends without waiting for an answer belongs to the same round trip.
    pub fn turns(&self) -> usize {
        self.shared.turns.load(Ordering::SeqCst)
    }

    /// Sets the delay of all data, in each direction.
    pub fn set_delay(&self, each_way: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = each_way);
    }

    /// Holds all data in both directions, until it [passes](Self::pass) again.
    pub fn hold(&self) {
        self.flow(Flow::Held, Flow::Held);
    }

    /// Accepts connections, and discards all data on them and on the open ones.
    pub fn swallow(&self) {
        self.flow(Flow::Lost, Flow::Lost);
    }

    /// Discards the data from the server only.
    pub fn swallow_answers(&self) {
        self.flow(Flow::Passes, Flow::Lost);
    }

    /// Lets all data pass that was not lost, without delay. A connection that has lost data stays silent.
    pub fn pass(&self) {
        self.flow(Flow::Passes, Flow::Passes);
        self.set_delay(Duration::ZERO);
    }

    /// Ends all open connections.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cuts += 1);
    }

    fn flow(&self, to_server: Flow, to_client: Flow) {
        self.shared.weather.send_modify(|weather| {
            weather.to_server = to_server;
            weather.to_client = to_client;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({} to {}, {} connections)", self.port, self.shared.to, self.connections())
    }
}

async fn accept(listener: TcpListener, shared: Arc<SharedState>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            shared.open.fetch_add(1, Ordering::SeqCst);
            connect(client, &shared).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Runs until one side ends the connection, or the proxy cuts it.
async fn connect(client: TcpStream, shared: &SharedState) {
    let mut weather = shared.weather.subscribe();
    let cuts = weather.borrow().cuts;
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.to)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let is_clients_turn = AtomicBool::new(true);
    let asked = || {
        if is_clients_turn.swap(false, Ordering::SeqCst) {
            shared.turns.fetch_add(1, Ordering::SeqCst);
        }
    };
    let answered = || is_clients_turn.store(true, Ordering::SeqCst);
    tokio::select! {
        () = forward(client_in, server_out, shared, |weather| weather.to_server, asked) => {}
        () = forward(server_in, client_out, shared, |weather| weather.to_client, answered) => {}
        _ = weather.wait_for(|weather| weather.cuts != cuts) => {}
    }
}

async fn forward(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    shared: &SharedState,
    flow: fn(&Weather) -> Flow,
    heard: impl Fn(),
) {
    let (on_its_way, arriving) = mpsc::unbounded_channel();
    tokio::select! {
        () = depart(from, on_its_way, shared, flow, heard) => {}
        () = arrive(to, arriving, shared, flow) => {}
    }
}

type OnItsWay = (Instant, Vec<u8>);

async fn depart(
    mut from: OwnedReadHalf,
    on_its_way: mpsc::UnboundedSender<OnItsWay>,
    shared: &SharedState,
    flow: fn(&Weather) -> Flow,
    heard: impl Fn(),
) {
    let mut is_lost = false;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        heard();
        let weather = *shared.weather.borrow();
        is_lost |= flow(&weather) == Flow::Lost;
        if !is_lost {
            let _ = on_its_way.send((Instant::now() + weather.delay, buffer[..length].to_vec()));
        }
    }
}

async fn arrive(
    mut to: OwnedWriteHalf,
    mut arriving: mpsc::UnboundedReceiver<OnItsWay>,
    shared: &SharedState,
    flow: fn(&Weather) -> Flow,
) {
    let mut weather = shared.weather.subscribe();
    while let Some((at, bytes)) = arriving.recv().await {
        sleep_until(at).await;
        let is_over = weather.wait_for(|weather| flow(weather) != Flow::Held).await.is_err();
        if is_over || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // This must not return before all data has arrived: a return drops the stream and ends the connection.
    std::future::pending::<()>().await;
}
