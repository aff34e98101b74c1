//! Fake Redis servers that give the answers of a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Answers on 127.0.0.1 until it is dropped.
pub(crate) struct Fake {
    port: u16,
    shared: Arc<SharedState>,
    _accepting: JoinSet<()>,
}

pub(crate) type Answer = dyn Fn(&[&str]) -> String + Send + Sync;

struct SharedState {
    answer: Box<Answer>,
    delay: Duration,
    accepted: AtomicUsize,
    open: AtomicUsize,
    cut: Notify,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    /// Starts a server. `answer` gets the words of each command, the first two in capitals. With an empty answer the server
    /// is silent.
    pub(crate) async fn start(answer: impl Fn(&[&str]) -> String + Send + Sync + 'static) -> Self {
        Self::start_far(Duration::ZERO, |_| answer).await
    }

    /// Starts a server whose answers take this long. `answer` gets the port.
    pub(crate) async fn start_far<A>(delay: Duration, answer: impl FnOnce(u16) -> A) -> Self
    where
        A: Fn(&[&str]) -> String + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(SharedState {
            answer: Box::new(answer(port)),
            delay,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            cut: Notify::new(),
            asked: Mutex::default(),
        });
        let (mut accepting, serving) = (JoinSet::new(), Arc::clone(&shared));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    tokio::select! {
                        () = shared.serve(stream) => {}
                        () = shared.cut.notified() => {}
                    }
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, shared, _accepting: accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The number of connections that were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The number of connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Handles a command as if another client had sent it.
    pub(crate) fn say(&self, words: &[&str]) {
        (self.shared.answer)(words);
    }

    /// How often clients sent this command.
    pub(crate) fn asked(&self, command: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| *asked == command).count()
    }
}

impl SharedState {
    async fn serve(&self, mut stream: TcpStream) {
        let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..length]);
            let mut answers = String::new();
            while let Some((words, used)) = command(&received) {
                received.drain(..used);
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                self.asked.lock().unwrap().push(words[0].to_owned());
                answers += &(self.answer)(&words);
            }
            sleep(self.delay).await;
            if stream.write_all(answers.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The words of the first complete command, and its length.
fn command(received: &[u8]) -> Option<(Vec<String>, usize)> {
    let number = |at: usize| {
        let line = received.get(at + 1..)?;
        let length = line.windows(2).position(|end| end == b"\r\n")?;
        let number: usize = std::str::from_utf8(&line[..length]).ok()?.parse().ok()?;
        Some((number, at + 1 + length + 2))
    };
    let (count, mut at) = number(0)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, begin) = number(at)?;
        let word = received.get(begin..begin + length)?;
        let word = String::from_utf8_lossy(word);
        words.push(if words.len() < 2 { word.to_uppercase() } else { word.into_owned() });
        at = begin + length + 2;
    }
    (at <= received.len()).then_some((words, at))
}

/// The answers of a server that is a master and has no token.
pub(crate) fn master(words: &[&str]) -> String {
    match words {
        ["HELLO", ..] => "%1\r\n+proto\r\n:3\r\n".to_owned(),
        ["PING"] => "+PONG\r\n".to_owned(),
        ["ROLE"] => list(&[text("master")]),
        ["SUBSCRIBE", channel] => format!(">3\r\n{}{}:1\r\n", text("subscribe"), text(channel)),
        ["TIME"] => list(&[text("1"), text("1")]),
        ["EVALSHA", ..] => list(&[":1\r\n".to_owned(), text("none"), text(""), text(""), text("")]),
        _ => "+OK\r\n".to_owned(),
    }
}

/// The answers of a cluster node for which all slots are at this port.
pub(crate) fn node(state: &str, epoch: u64, port: u16) -> impl Fn(&[&str]) -> String + Send + Sync + 'static {
    let info = text(&format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n"));
    let owner = list(&[text("127.0.0.1"), format!(":{port}\r\n"), text("id")]);
    let slots = list(&[list(&[":0\r\n".to_owned(), ":16383\r\n".to_owned(), owner])]);
    move |words| match words {
        ["CLUSTER", "INFO"] => info.clone(),
        ["CLUSTER", "SLOTS"] => slots.clone(),
        _ => master(words),
    }
}

pub(crate) fn text(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(crate) fn list(parts: &[String]) -> String {
    format!("*{}\r\n{}", parts.len(), parts.concat())
}
