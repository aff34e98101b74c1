use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::*;

/// A limit that no read in these tests reaches.
const LONG: Duration = Duration::from_secs(20);

struct UnparkWaker(thread::Thread);

impl Wake for UnparkWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(UnparkWaker(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// The outcome of reading a file, which is the same for both methods. Fails if reading does not end.
fn read(path: impl Into<PathBuf>) -> Result<Secret, AuthenticationError> {
    let (sender, outcome) = mpsc::channel();
    let source = SecretSource::file(path);
    thread::spawn(move || {
        let one = block_on(source.read());
        let other = source.read_blocking();
        assert_eq!(one.is_ok(), other.is_ok());
        sender.send(one)
    });
    outcome.recv_timeout(LONG).expect("reading ends")
}

/// A path in the directory for temporary files. The file is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("forge-core-{name}-{}", std::process::id())))
    }

    fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let scratch = Self::new(name);
        std::fs::write(&scratch.0, content).unwrap();
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_error_distinguishes_an_unset_variable_from_one_that_is_not_unicode() {
    let reason = |name: &str| SecretSource::env(name).read_blocking().unwrap_err().to_string();
    let unset = reason("FORGE_SECRET_SOURCE_UNSET");
    assert!(unset.contains("the environment variable FORGE_SECRET_SOURCE_UNSET is not set"), "{unset}");
    let no_text =
        variable_error("FORGE_SECRET_SOURCE_BYTES", &VarError::NotUnicode("canary".into())).to_string();
    assert!(no_text.contains("FORGE_SECRET_SOURCE_BYTES is not Unicode"), "{no_text}");
    assert!(!no_text.contains("canary"), "{no_text}");
}

#[test]
fn read_blocking_reads_values_and_files_and_refuses_closures() {
    let value = SecretSource::from("s3cret").read_blocking().unwrap();
    assert_eq!(value.expose(), "s3cret");
    let missing = SecretSource::file("/nowhere/secret").read_blocking().unwrap_err().to_string();
    assert!(missing.contains("/nowhere/secret"), "{missing}");
    let closure = SecretSource::from_fn(|| async { Ok::<_, std::io::Error>(Secret::from("canary")) });
    let refused = closure.read_blocking().unwrap_err().to_string();
    assert!(refused.contains("must be awaited"), "{refused}");
}

#[test]
fn a_byte_order_mark_and_one_line_end_are_not_part_of_the_secret() {
    for (at, (content, secret)) in [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        ("s3cret\n\n", "s3cret\n"),
        (" s3cret \n", " s3cret "),
        ("\u{feff}s3cret\r\n", "s3cret"),
        ("\u{feff}\u{feff}s3cret", "\u{feff}s3cret"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = Scratch::with(&format!("content-{at}"), content);
        assert_eq!(read(&file.0).unwrap().expose(), secret, "{content:?}");
    }
    for (at, content) in ["", "\n", "\u{feff}", "\u{feff}\r\n"].into_iter().enumerate() {
        let file = Scratch::with(&format!("empty-{at}"), content);
        let error = read(&file.0).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}

#[test]
fn a_secret_file_is_a_text_of_at_most_64_kib() {
    let largest = "x".repeat(64 * 1024);
    let file = Scratch::with("largest", &largest);
    assert_eq!(read(&file.0).unwrap().expose(), largest);
    for (name, content, expected) in [
        ("larger", [largest.as_bytes(), b"\n"].concat(), "larger than 64 KiB"),
        ("utf-16", b"\xff\xfes\0".to_vec(), "UTF-8"),
    ] {
        let file = Scratch::with(name, content);
        let error = read(&file.0).unwrap_err();
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_file_must_be_a_regular_file() {
    let fifo = Scratch::new("fifo");
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    for path in [fifo.0.clone(), std::env::temp_dir(), "/dev/zero".into(), "/dev/null".into()] {
        let error = read(&path).unwrap_err();
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
        assert!(error.to_string().contains("regular file"), "{error}");
    }
    // Kubernetes mounts secrets as links.
    let (file, link) = (Scratch::with("target", "s3cret\n"), Scratch::new("link"));
    std::os::unix::fs::symlink(&file.0, &link.0).unwrap();
    assert_eq!(read(&link.0).unwrap().expose(), "s3cret");
}

#[test]
fn inv16_a_secret_in_the_place_of_a_path_or_of_a_name_is_not_shown() {
    for secret in [
        "s3cr3t-canary",
        "canary/with+slashes==",
        "/canary+slash==",
        "/9j/4AAQSkZJRgABAQcanary0EASABIAAD/",
        "-----BEGIN PRIVATE KEY-----\ncanary\n",
        "canary\0zero",
        "https://user:canary@vault.example.com/secret",
    ] {
        let (file, variable) = (SecretSource::file(secret), SecretSource::env(secret));
        for source in [file, variable] {
            let error = source.read_blocking().unwrap_err();
            let shown = format!("{error} {error:?} {source:?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("not shown"), "{shown}");
        }
    }
    for path in ["/run/secrets/client-secret", "./secret", "../etc/forge/secret.txt", "/tmp/a b/ü"] {
        let source = SecretSource::file(path);
        assert!(format!("{source:?}").contains(path), "{source:?}");
    }
    let key = SecretSource::env("JBSWY3DPEHPK3PXP");
    assert!(!format!("{key:?} {}", key.read_blocking().unwrap_err()).contains("JBSWY"), "{key:?}");
    for name in ["CLIENT_SECRET", "_X2", "SECRET2", "CLIENTSECRETOFTHESHOP", "OAUTH2_CLIENT_SECRET"] {
        let source = SecretSource::env(name);
        assert!(format!("{source:?}").contains(name), "{source:?}");
    }
}
