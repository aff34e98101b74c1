//! Keys rotate under load.

use std::sync::Arc;

use requestforge::{InMemoryTokenStorage, TokenStorage};

use crate::world::{Fleet, KEY, encrypted};

const PROCESSES: usize = 6;

/// The id of the key with which the record is encrypted.
async fn id_of_record(inner: &dyn TokenStorage) -> String {
    let record = inner.get(KEY).await.expect("an answer").expect("a record");
    record.access_token().split('.').nth(1).expect("an id").to_owned()
}

/// `connect` makes another connection to the storage of this test, which is empty.
pub(crate) async fn rotates(connect: impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static) {
    let inner = connect();
    let fleet = Fleet::start(connect, PROCESSES, &["k1"]);
    fleet.go_on().await;
    assert_eq!(fleet.fetches(), 1, "a cold start");

    fleet.roll(&["k1", "k2"]).await;
    assert_eq!(fleet.fetches(), 1, "all can read what will come");

    // Half of the processes write with one key, and half with the other.
    for number in 0..PROCESSES / 2 {
        fleet.restart(number, &["k2", "k1"]);
        fleet.go_on().await;
    }
    assert_eq!(fleet.fetches(), 1, "the new key has nothing to write yet");
    assert_eq!(id_of_record(&*inner).await, "k1");
    for (renewal, number) in [0, PROCESSES - 1, 1].into_iter().enumerate() {
        fleet.renew(number).await;
        fleet.go_on().await;
        assert_eq!(fleet.fetches(), 2 + renewal, "a renewal is one call, whoever makes it");
        let expected = if number < PROCESSES / 2 { "k2" } else { "k1" };
        assert_eq!(id_of_record(&*inner).await, expected);
    }

    fleet.roll(&["k2", "k1"]).await;
    fleet.roll(&["k2"]).await;
    assert_eq!(fleet.fetches(), 4, "the record is under the new key: the old one is not missed");
    let expected = (1..=4).map(|number| format!("token-{number}")).collect();
    assert_eq!(fleet.end().await, expected);
}

/// `connect` as above.
pub(crate) async fn loses_the_old_key(
    connect: impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static,
) {
    let first = Fleet::start(connect.clone(), PROCESSES, &["k1"]);
    first.go_on().await;
    assert_eq!(first.fetches(), 1);
    first.end().await;

    let inner = connect();
    assert_eq!(id_of_record(&*inner).await, "k1");
    let second = Fleet::start(connect, PROCESSES, &["k2"]);
    second.go_on().await;
    assert_eq!(second.fetches(), 1, "one fetch for all, and no error for anybody");
    assert_eq!(id_of_record(&*inner).await, "k2");
    assert_eq!(second.end().await.len(), 1);
    assert!(encrypted(inner, &["k2"]).exists(KEY).await.expect("an answer"));
}

fn in_memory() -> impl Fn() -> Arc<dyn TokenStorage> + Clone + Send + Sync + 'static {
    let storage = InMemoryTokenStorage::new();
    move || Arc::new(storage.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_a_rotation_under_load_costs_no_token_call() {
    rotates(in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_with_the_old_key_gone_there_is_one_fetch_and_no_error() {
    loses_the_old_key(in_memory()).await;
}
