use std::sync::atomic::{AtomicBool, AtomicU16};

use forge_core::TokenStorage;
use redis::Script;

use super::*;
use crate::fake::{Answer, Fake, list, master, node, text};
use crate::keys::Keys;
use crate::servers::Servers;
use crate::{RedisTokenStorage, logs};

/// The storage has long time-outs, for a machine with other load.
fn storage(nodes: &[&Fake]) -> RedisTokenStorage {
    let builder = RedisTokenStorage::cluster(nodes.iter().map(|fake| fake.url()));
    builder.command_timeout(Duration::from_secs(10)).build().unwrap()
}

async fn answers(storage: &RedisTokenStorage) {
    for _ in 0..2_000 {
        if storage.get("k").await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{storage:?} does not answer");
}

async fn soon(is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it is never so");
}

#[tokio::test]
async fn inv18_a_node_next_door_that_is_cut_off_keeps_nobody_from_the_others() {
    let far = Duration::from_millis(16);
    let real = Fake::start_far(far, |port| node("ok", 1, port)).await;
    let cut_off = Fake::start_far(Duration::ZERO, |port| node("fail", 2, port)).await;
    let reset = Fake::start(|words: &[&str]| match words {
        ["CLUSTER", "INFO"] => text("cluster_state:ok\r\ncluster_current_epoch:0\r\n"),
        ["CLUSTER", "SLOTS"] => list(&[]),
        _ => master(words),
    });
    let reset = reset.await;
    for near in [&cut_off, &reset] {
        for _ in 0..5 {
            let storage = storage(&[near, &real]);
            assert_eq!(storage.get("k").await.unwrap(), None);
            real.cut();
            answers(&storage).await;
        }
        assert_eq!(near.asked("EVALSHA"), 0);
    }
}

#[tokio::test]
async fn inv18_a_cluster_that_is_down_is_said_to_be_so_and_its_other_nodes_are_asked() {
    let other = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
    let seed = Fake::start(node("fail", 1, other.port())).await;
    let storage = storage(&[&seed]);
    let error = storage.get("k").await.unwrap_err().to_string();
    assert!(error.contains("the cluster is down"), "{error}");
    answers(&storage).await;
}
#[tokio::test]
async fn a_long_way_takes_a_long_command_timeout_and_nothing_else() {
    let far = Fake::start_far(Duration::from_millis(400), |port| node("ok", 1, port)).await;
    let builder = RedisTokenStorage::cluster([far.url()]).command_timeout(Duration::from_secs(30));
    assert_eq!(builder.build().unwrap().get("k").await.unwrap(), None);
}

#[tokio::test]
async fn inv18_who_is_patient_does_not_wait_for_a_master_that_was_replaced() {
    // Nodes that agree on the owner of all slots. After a while the second one answers nothing else.
    let (owner, is_silent) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicBool::new(false)));
    let knows = |owner: &Arc<AtomicU16>| {
        let owner = Arc::clone(owner);
        move |words: &[&str]| node("ok", 1, owner.load(Ordering::SeqCst))(words)
    };
    let (says, is_gone) = (knows(&owner), Arc::clone(&is_silent));
    let old = Fake::start(
        move |words: &[&str]| {
            if is_gone.load(Ordering::SeqCst) { String::new() } else { says(words) }
        },
    );
    let (old, new) = (old.await, Fake::start(knows(&owner)).await);
    owner.store(old.port(), Ordering::SeqCst);
    let builder = RedisTokenStorage::cluster([new.url()]).command_timeout(Duration::from_secs(45));
    let storage = builder.build().unwrap();
    storage.get("k").await.unwrap();

    is_silent.store(true, Ordering::SeqCst);
    let before = old.accepted();
    old.cut();
    // The storage connects once to ask this node for the map, and once to use it as a master.
    while old.accepted() < before + 2 {
        sleep(Duration::from_millis(10)).await;
    }
    owner.store(new.port(), Ordering::SeqCst);
    // The storage answers long before this attempt to connect ends.
    answers(&storage).await;
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_start_is_one_connection_and_no_outage() {
    logs::capture();
    let node = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
    for _ in 0..50 {
        storage(&[&node]).get("k").await.unwrap();
    }
    assert_eq!(node.asked("SUBSCRIBE"), 50);
    assert_eq!(logs::lines("WARN", &[&node.port().to_string()]), [""; 0]);
}

#[tokio::test]
async fn who_looks_for_a_link_by_a_new_map_finds_the_one_that_was_in_search_of_it() {
    let node = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
    let storage = storage(&[&node]);
    let Servers::Cluster(cluster) = &storage.0.servers else { panic!("no cluster") };
    let connection = cluster.connection(7);
    let dialer = cluster.0.common.dialer.ready().await.unwrap();
    // Another connection asks for this survey.
    cluster.0.survey(&dialer, u64::MAX).await.unwrap();
    for slot in [7, 8] {
        assert!(Arc::ptr_eq(&connection, &cluster.connection(slot)));
    }
}

/// The slot of a token's key.
fn slot_of(key: &str) -> u16 {
    Keys::new("token", &key["token:".len()..]).unwrap().slot()
}

/// Two nodes. The second one gets the slots of the first one, one after the other.
struct Handover {
    old: Fake,
    new: Fake,
    moved: Arc<Mutex<HashSet<u16>>>,
    storage: RedisTokenStorage,
}

impl Handover {
    async fn start() -> Self {
        let moved = Arc::<Mutex<HashSet<u16>>>::default();
        let new = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
        let (is_moved, there) = (Arc::clone(&moved), new.port());
        let old = Fake::start_far(Duration::ZERO, |port| {
            move |words: &[&str]| match words {
                ["EVALSHA", _, _, key, ..] => {
                    let slot = slot_of(key);
                    let is_moved = is_moved.lock().unwrap().contains(&slot);
                    if is_moved { format!("-MOVED {slot} 127.0.0.1:{there}\r\n") } else { master(words) }
                }
                _ => node("ok", 1, port)(words),
            }
        });
        let old = old.await;
        let storage = storage(&[&old]);
        Self { old, new, moved, storage }
    }

    async fn hand_over(&self, key: &str) {
        self.moved.lock().unwrap().insert(Keys::new("token", key).unwrap().slot());
        self.storage.get(key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_has_handed_over_all_that_is_ours_is_left_and_may_go() {
    logs::capture();
    let nodes = Handover::start().await;
    nodes.storage.get("a").await.unwrap();
    nodes.storage.get("b").await.unwrap();
    nodes.hand_over("a").await;
    assert_eq!((nodes.old.open(), nodes.new.open()), (1, 1), "it still has the other one");
    nodes.hand_over("b").await;
    soon(|| nodes.old.open() == 0).await;
    assert_eq!((nodes.old.open(), nodes.new.open()), (0, 1));
    let old = nodes.old.port().to_string();
    drop(nodes.old);
    for key in ["a", "b"] {
        nodes.storage.get(key).await.unwrap();
    }
    assert_eq!(nodes.new.accepted(), 1);
    assert_eq!(logs::lines("WARN", &[&old]), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_that_another_one_has_taken_over_its_part_ends_with_a_word() {
    logs::capture();
    let nodes = Handover::start().await;
    nodes.storage.get("a").await.unwrap();
    nodes.storage.get("b").await.unwrap();
    nodes.hand_over("a").await;
    let old = nodes.old.port().to_string();
    drop(nodes.old);
    soon(|| !logs::lines("INFO", &[&old]).is_empty()).await;
    assert_eq!(logs::lines("WARN", &[&old]).len(), 1);
    assert!(logs::lines("INFO", &[&old])[0].contains("has taken over"));
    nodes.storage.get("b").await.unwrap();
    assert_eq!(nodes.new.accepted(), 2, "one to stay, and one to ask");
}

#[tokio::test]
async fn who_asks_while_somebody_is_asking_waits_for_that_answer() {
    let far = Fake::start_far(Duration::from_millis(50), |port| node("ok", 1, port)).await;
    let storage = storage(&[&far]);
    let Servers::Cluster(cluster) = &storage.0.servers else { panic!("no cluster") };
    let dialer = cluster.0.common.dialer.ready().await.unwrap();
    for surveys in 1..=3 {
        let mut asking = tokio::task::JoinSet::new();
        for id in 0..10 {
            let (shared, dialer) = (Arc::clone(&cluster.0), dialer.clone());
            asking.spawn(async move { shared.survey(&dialer, id).await });
        }
        assert!(asking.join_all().await.iter().all(Result::is_ok));
        assert_eq!(far.accepted(), surveys);
    }
}

/// The answers of a node that has all slots. Its keys are about to move to the node at this port.
fn giving(to: u16) -> impl Fn(u16) -> Box<Answer> {
    move |port| {
        Box::new(move |words: &[&str]| match words {
            ["EVALSHA", _, _, key, ..] => format!("-ASK {} 127.0.0.1:{to}\r\n", slot_of(key)),
            _ => node("ok", 1, port)(words),
        })
    }
}

#[tokio::test]
async fn a_server_that_is_asked_out_of_turn_may_not_know_the_script() {
    let is_loaded = AtomicBool::new(false);
    let to = Fake::start(move |words: &[&str]| match words {
        ["SCRIPT", "LOAD", script] => {
            is_loaded.store(true, Ordering::SeqCst);
            text(Script::new(script).get_hash())
        }
        ["SCRIPT", "FLUSH"] => {
            is_loaded.store(false, Ordering::SeqCst);
            text("OK")
        }
        ["EVALSHA", ..] if !is_loaded.load(Ordering::SeqCst) => "-NOSCRIPT no\r\n".to_owned(),
        _ => node("ok", 1, 1)(words),
    });
    let to = to.await;
    let from = Fake::start_far(Duration::ZERO, giving(to.port())).await;
    let storage = storage(&[&from]);
    assert_eq!(storage.get("k").await.unwrap(), None);
    to.say(&["SCRIPT", "FLUSH"]);
    assert_eq!(storage.get("k").await.unwrap(), None);
    assert_eq!((to.asked("ASKING"), to.asked("EVALSHA")), (3, 3));
}

#[tokio::test]
async fn a_move_that_was_only_half_begun_is_said_to_be_so() {
    let back = Arc::new(AtomicU16::new(0));
    let there = Arc::clone(&back);
    let to = Fake::start(move |words: &[&str]| match words {
        ["EVALSHA", _, _, key, ..] => {
            format!("-MOVED {} 127.0.0.1:{}\r\n", slot_of(key), there.load(Ordering::SeqCst))
        }
        _ => node("ok", 1, 1)(words),
    });
    let to = to.await;
    let from = Fake::start_far(Duration::ZERO, giving(to.port())).await;
    back.store(from.port(), Ordering::SeqCst);
    let error = storage(&[&from]).get("k").await.unwrap_err();
    assert!(error.to_string().contains("moving this key") && error.is_unsent(), "{error}");
}

#[tokio::test]
async fn nodes_without_a_host_name_are_told_which_setting_they_lack() {
    let nameless = Fake::start(|words: &[&str]| match words {
        ["CLUSTER", "SLOTS"] => {
            let owner = list(&[text("?"), ":7001\r\n".to_owned(), text("id")]);
            list(&[list(&[":0\r\n".to_owned(), ":16383\r\n".to_owned(), owner])])
        }
        _ => node("ok", 1, 1)(words),
    });
    let nameless = nameless.await;
    let error = storage(&[&nameless]).get("k").await.unwrap_err().to_string();
    assert!(error.contains("cluster-announce-hostname"), "{error}");
}
