//! Processes under load that share a storage, each with encryption keys of its own.

use std::collections::{HashMap, HashSet};
use std::future::{self, Future};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use requestforge::{
    AuthenticationError, EncryptedTokenStorage, EncryptionKey, StorageError, TokenData, TokenManager,
    TokenProvider, TokenStorage, async_trait,
};
use tokio::task::JoinHandle;

/// The cache key of all processes.
pub(crate) const KEY: &str = "crm";

/// The keys of a process: it writes with the first one, and reads with all.
pub(crate) type KeyIds = &'static [&'static str];

/// The id determines the bytes, so that different processes have the same key under the same id.
pub(crate) fn key(id: &str) -> EncryptionKey {
    let mut bytes = [0x5a; EncryptionKey::LENGTH];
    bytes[..id.len()].copy_from_slice(id.as_bytes());
    EncryptionKey::from_bytes(id, &bytes).expect("a key")
}

/// The storage of a process with these keys.
pub(crate) fn encrypted(inner: Arc<dyn TokenStorage>, keys: KeyIds) -> EncryptedTokenStorage {
    let (writing, reading) = keys.split_first().expect("a key that writes");
    let builder = EncryptedTokenStorage::builder(inner, key(writing));
    reading.iter().fold(builder, |builder, id| builder.reading_key(key(id))).build().expect("a storage")
}

/// A storage with only the documents' four methods.
#[derive(Debug, Default)]
pub(crate) struct Bare(Mutex<HashMap<String, TokenData>>);

#[async_trait]
impl TokenStorage for Bare {
    async fn get(&self, key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").get(key).cloned())
    }

    async fn set(&self, key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").insert(key.to_owned(), token.clone());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.lock().expect("unpoisoned").remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.0.lock().expect("unpoisoned").contains_key(key))
    }
}

/// Fetches `token-1`, `token-2`, …, each good for an hour, and takes its time.
#[derive(Debug, Default)]
pub(crate) struct NumberedIssuer {
    fetches: AtomicUsize,
}

impl NumberedIssuer {
    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenProvider for NumberedIssuer {
    fn service_name(&self) -> &'static str {
        "numbered"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(TokenData::new(format!("token-{number}")).with_expires_in(Duration::from_secs(3_600)))
    }
}

/// Connects a new process to the storage that all processes share.
type Connect = Box<dyn Fn() -> Arc<dyn TokenStorage> + Send + Sync>;

/// Processes that get tokens all the time, whatever happens to the processes.
pub(crate) struct Fleet {
    connect: Connect,
    provider: Arc<NumberedIssuer>,
    processes: Vec<Arc<RwLock<TokenManager>>>,
    callers: Vec<JoinHandle<HashSet<String>>>,
    calls: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

/// The number per process.
const CALLERS: usize = 3;

impl Fleet {
    /// Starts processes with these keys, and the load on them.
    pub(crate) fn start(
        connect: impl Fn() -> Arc<dyn TokenStorage> + Send + Sync + 'static,
        processes: usize,
        keys: KeyIds,
    ) -> Self {
        let mut fleet = Self {
            connect: Box::new(connect),
            provider: Arc::default(),
            processes: Vec::new(),
            callers: Vec::new(),
            calls: Arc::default(),
            is_over: Arc::default(),
        };
        for _ in 0..processes {
            let process = Arc::new(RwLock::new(fleet.process(keys)));
            for _ in 0..CALLERS {
                fleet.callers.push(fleet.call(&process));
            }
            fleet.processes.push(process);
        }
        fleet
    }

    /// Replaces each process by one with these keys, one after the other, as a rolling deployment does.
    pub(crate) async fn roll(&self, keys: KeyIds) {
        for number in 0..self.processes.len() {
            self.restart(number, keys);
            self.go_on().await;
        }
    }

    /// Replaces one process.
    pub(crate) fn restart(&self, number: usize, keys: KeyIds) {
        let new = self.process(keys);
        *self.processes[number].write().expect("unpoisoned") = new;
    }

    /// Lets the callers have some tokens.
    pub(crate) async fn go_on(&self) {
        let enough = self.calls.load(Ordering::SeqCst) + 40 * self.callers.len();
        let is_enough = || {
            assert!(!self.callers.iter().any(JoinHandle::is_finished), "a caller has failed");
            future::ready(self.calls.load(Ordering::SeqCst) >= enough)
        };
        assert!(soon(is_enough).await, "callers get no tokens");
    }

    /// One process gets a new token, and the others adopt it.
    pub(crate) async fn renew(&self, number: usize) {
        let manager = self.manager(number);
        let new = manager.force_refresh().await.expect("a token");
        for number in 0..self.processes.len() {
            let manager = &self.manager(number);
            let has_it = || async { manager.get_token().await.expect("a token").id() == new.id() };
            assert!(soon(has_it).await, "process {number} does not adopt the new token");
        }
    }

    /// Provider calls so far.
    pub(crate) fn fetches(&self) -> usize {
        self.provider.fetches()
    }

    /// Ends the load. Every caller had a token each time. Returns all tokens.
    pub(crate) async fn end(self) -> HashSet<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut tokens = HashSet::new();
        for caller in self.callers {
            tokens.extend(caller.await.expect("no caller has failed"));
        }
        tokens
    }

    fn process(&self, keys: KeyIds) -> TokenManager {
        let storage = encrypted((self.connect)(), keys);
        let builder = TokenManager::builder(Arc::clone(&self.provider)).storage(storage);
        builder.cache_key(KEY).build().expect("a manager")
    }

    fn manager(&self, number: usize) -> TokenManager {
        self.processes[number].read().expect("unpoisoned").clone()
    }

    fn call(&self, process: &Arc<RwLock<TokenManager>>) -> JoinHandle<HashSet<String>> {
        let (process, calls, is_over) =
            (Arc::clone(process), Arc::clone(&self.calls), Arc::clone(&self.is_over));
        tokio::spawn(async move {
            let mut tokens = HashSet::new();
            while !is_over.load(Ordering::SeqCst) {
                let manager = process.read().expect("unpoisoned").clone();
                let token = manager.get_token().await.expect("a token");
                if !tokens.contains(token.access_token()) {
                    tokens.insert(token.access_token().to_owned());
                }
                calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            tokens
        })
    }
}

/// Whether the condition holds within some seconds.
async fn soon<F: Future<Output = bool>>(is_so: impl Fn() -> F) -> bool {
    for _ in 0..10_000 {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}
