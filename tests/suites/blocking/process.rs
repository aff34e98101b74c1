//! The end of threads and of the process.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use requestforge::blocking::{HttpClient, Tokens};
use requestforge::{ClientCredentialsTokenProvider, HttpClientError, TokenManager};

use crate::world::World;

const ENVIRONMENT: &str = "FORGE_TEST_BLOCKING";

static TOKENS: LazyLock<Tokens<TokenManager>> = LazyLock::new(|| {
    let settings = settings();
    let provider = ClientCredentialsTokenProvider::builder(&*settings[1], &*settings[2], &*settings[3]);
    Tokens::new(TokenManager::new(provider.build().expect("a provider")))
});

static CLIENT: LazyLock<HttpClient> = LazyLock::new(|| {
    let tokens = TOKENS.source().clone();
    HttpClient::builder(&*settings()[0]).with_token_auth(tokens).build().expect("a client")
});

fn settings() -> Vec<String> {
    let settings = std::env::var(ENVIRONMENT).expect("the other test runs this one");
    settings.split('\n').map(str::to_owned).collect()
}

/// A process with clients in statics, a call under way, and an answer half read.
#[test]
#[ignore = "the test below runs it, as a process of its own"]
fn the_other_process() {
    let half_read = CLIENT.get("/users").send().expect("an answer");
    thread::spawn(|| CLIENT.get("/users").no_auth().header("x-request-id", HELD).send().map(drop));
    // Waits until that call is under way.
    io::stdin().read_line(&mut String::new()).expect("a line");
    std::mem::forget(half_read);
}

const HELD: &str = "held";

#[test]
fn a_process_with_clients_in_statics_ends_whatever_is_under_way() {
    let world = World::new();
    world.api.hold(HELD);
    let (server, api) = (&world.server, &world.api);
    let settings = [&api.base_url(), &server.token_url(), server.client_id(), server.client_secret()];
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .args(["process::the_other_process", "--exact", "--ignored", "--nocapture"])
        .env(ENVIRONMENT, settings.join("\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let until_waiting = async { tokio::time::timeout(LIMIT, api.until_waiting(1)).await };
    let is_under_way = world.block_on(until_waiting).is_ok();
    process.stdin.take().expect("a pipe").write_all(b"\n").expect("it reads");
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = process.try_wait().expect("a process") {
            break status;
        }
        if Instant::now() > deadline {
            process.kill().expect("it runs");
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success() && is_under_way, "{status}");
    assert_eq!((api.accepted(), api.rejected()), (1, 1));
}

const LIMIT: Duration = Duration::from_secs(60);

/// Makes a call when its thread ends.
struct Late {
    client: HttpClient,
    result: Sender<Result<u16, HttpClientError>>,
}

impl Drop for Late {
    fn drop(&mut self) {
        let result = self.client.get("/users").send();
        self.result.send(result.map(|response| response.status_code().as_u16())).expect("it is awaited");
    }
}

thread_local! {
    static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_call_of_a_thread_that_is_about_to_end_is_an_error() {
    let world = World::new();
    let (result, results) = channel();
    let client = world.client.clone();
    // The thread creates this value before the runtime's own thread-local, so it drops it after that.
    let ending = thread::spawn(move || {
        LATE.set(Some(Late { client: client.clone(), result }));
        client.get("/users").send().map(|response| response.is_success())
    });
    assert!(ending.join().expect("no panic").expect("an answer"));
    let error = results.recv().expect("it was dropped").expect_err("too late");
    assert!(error.is_builder() && error.to_string().contains("about to end"), "{error:?}");
}
