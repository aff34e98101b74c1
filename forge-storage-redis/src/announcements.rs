//! The messages by which processes that share a storage announce changes to each other.

use std::collections::{HashMap, VecDeque};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{Generation, Generations, StalenessLimits, random_bits};
use tokio::sync::broadcast;

/// Sends and receives the messages of one storage.
#[derive(Debug)]
pub(crate) struct Announcements {
    channel: String,
    numbers: AtomicU64,
    /// The messages of our own changes that have not come back yet. `PendingChange::resolve` counts such a change, so
    /// `receive` must not count it again. The value is the id of the process that sent the message. Crash: a forked process
    /// inherits this map, but not the tasks that resolve the changes, so there `receive` must count them.
    own: Mutex<HashMap<String, u32>>,
    /// The last messages as they came, to drop copies: each connection to a cluster receives the same messages.
    heard: Mutex<VecDeque<String>>,
    staleness_limits: StalenessLimits,
    /// The generation counters, by the hash of the key.
    generations: Generations,
    subscribers: broadcast::Sender<Message>,
}

/// A message has the form `{hash of the key} {kind} {name of the message}`. The name is random bits and a number. Attack: a
/// user with the right to PUBLISH could guess the next message and send it first, and then the real one would be dropped as
/// a copy. The random bits prevent that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) hash: String,
    pub(crate) kind: MessageKind,
    /// Whether the name is unique, so that a second message with the same text is a copy.
    is_numbered: bool,
}

/// The event that a message announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// The token was replaced or deleted.
    Changed,
    /// The lease was released.
    Released,
}

/// A change that was sent and is not answered yet. If it is dropped before [`resolve`](Self::resolve), the server may or
/// may not have made the change, so `drop` marks the key as uncertain.
pub(crate) struct PendingChange<'a> {
    announcements: &'a Announcements,
    hash: &'a str,
    message: String,
    is_resolved: bool,
}

impl Announcements {
    pub(crate) fn new(prefix: &str, staleness_limits: StalenessLimits) -> Self {
        Self {
            channel: format!("requestforge:{prefix}"),
            numbers: AtomicU64::new(UNNUMBERED + 1),
            own: Mutex::default(),
            heard: Mutex::default(),
            staleness_limits,
            generations: Generations::with_staleness_limits(staleness_limits),
            subscribers: broadcast::channel(QUEUE_LENGTH).0,
        }
    }

    pub(crate) fn recheck_after(&self) -> Duration {
        self.staleness_limits.recheck_after
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// A name that no other process uses, not even a fork of this process or a clone of this machine, because each call
    /// draws new random bits.
    pub(crate) fn new_name(&self) -> String {
        format!("{:032x} {}", random_bits(), self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// The message that announces that the lease of this key was released.
    pub(crate) fn release_message(&self, hash: &str) -> String {
        self.message(hash, MessageKind::Released)
    }

    /// Begins a change of this key.
    pub(crate) fn begin_change<'a>(&'a self, hash: &'a str) -> PendingChange<'a> {
        let message = self.message(hash, MessageKind::Changed);
        let mut own = self.own();
        // `receive` counts a forgotten change a second time, as if another process had made it. That costs one needless
        // read of the storage.
        if own.len() >= MAX_OWN {
            own.clear();
        }
        own.insert(message.clone(), process::id());
        drop(own);
        PendingChange { announcements: self, hash, message, is_resolved: false }
    }

    pub(crate) fn generation(&self, hash: &str) -> Generation {
        self.generations.of(hash)
    }

    /// A receiver of the messages of all keys.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.subscribers.subscribe()
    }

    /// Handles a message. Ignores one that it cannot parse.
    pub(crate) fn receive(&self, text: &[u8]) {
        if text.len() > MAX_LENGTH {
            return;
        }
        let Ok(text) = std::str::from_utf8(text) else { return };
        let Some(message) = Message::parse(text) else { return };
        if message.is_numbered && !self.record_if_new(text) {
            return;
        }
        if message.kind == MessageKind::Changed && !self.take_own(text) {
            self.generations.bump(&message.hash);
        }
        // Without a receiver, sending fails, and that is fine.
        let _ = self.subscribers.send(message);
    }

    /// Marks all keys as uncertain, because messages may have been lost.
    pub(crate) fn mark_all_uncertain(&self) {
        // The lost messages may include those of our own changes, so do not wait for them.
        self.own().clear();
        self.generations.mark_all_uncertain();
    }

    /// Records a message if it is new, and returns `true`. Returns `false` if it is a copy of a recent one. Attack: this
    /// compares the whole text. If it compared only the names, a forged message with the same name and another key would
    /// make the real one a copy.
    fn record_if_new(&self, text: &str) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.iter().any(|heard| heard == text) {
            return false;
        }
        if heard.len() >= MAX_HEARD {
            heard.pop_front();
        }
        heard.push_back(text.to_owned());
        true
    }

    /// Removes this message from our own changes. Returns whether this process made the change.
    fn take_own(&self, text: &str) -> bool {
        self.own().remove(text) == Some(process::id())
    }

    fn message(&self, hash: &str, kind: MessageKind) -> String {
        let kind = match kind {
            MessageKind::Changed => CHANGED,
            MessageKind::Released => RELEASED,
        };
        format!("{hash} {kind} {}", self.new_name())
    }

    fn own(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const CHANGED: &str = "changed";
const RELEASED: &str = "released";

/// The number of messages that a waiting lease may lag behind. A lease that misses messages asks the server again, so a
/// short queue costs a command at worst.
const QUEUE_LENGTH: usize = 64;
/// The number of messages among which copies are found. Copies come within milliseconds, over the connections to a cluster.
const MAX_HEARD: usize = 256;
/// More changes than a process has pending at any time. It limits the memory if the server delivers no messages.
const MAX_OWN: usize = 10_000;
/// Stands for a missing number. Messages of other versions may have none, and their names may repeat, so an equal message
/// may be a new change.
const UNNUMBERED: u64 = 0;
/// The maximum length of a message in bytes. Ours have about 80. Attack: a longer message would fill the memory for copies.
const MAX_LENGTH: usize = 256;

impl PendingChange<'_> {
    /// The message to publish with the change.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Ends the pending change with the server's answer: whether the server made the change.
    pub(crate) fn resolve(mut self, is_made: bool) {
        self.is_resolved = true;
        if is_made {
            self.announcements.generations.bump(self.hash);
        } else {
            // The server made no change, so it announces none.
            self.announcements.take_own(&self.message);
        }
    }
}

impl Drop for PendingChange<'_> {
    fn drop(&mut self) {
        if self.is_resolved {
            return;
        }
        // Race: the server may still make the change later. Then its message counts like that of another process.
        self.announcements.take_own(&self.message);
        self.announcements.generations.mark_uncertain(self.hash);
    }
}

impl Message {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (hash, kind, _) = (words.next()?, words.next()?, words.next()?);
        let kind = match kind {
            CHANGED => MessageKind::Changed,
            RELEASED => MessageKind::Released,
            _ => return None,
        };
        let number = words.next().and_then(|number| number.parse().ok()).unwrap_or(UNNUMBERED);
        Some(Self { hash: hash.to_owned(), kind, is_numbered: number != UNNUMBERED })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcements() -> Announcements {
        let staleness_limits =
            StalenessLimits { recheck_after: Duration::from_secs(10), trusted_for: Duration::from_secs(60) };
        Announcements::new("token", staleness_limits)
    }

    #[test]
    fn inv19_what_others_change_is_a_change_and_what_we_change_is_none_twice() {
        let (ours, theirs) = (announcements(), announcements());
        assert_eq!(ours.channel(), "requestforge:token");
        assert_ne!(ours.new_name(), theirs.new_name());
        let generation = ours.generation("k");
        let before = generation.current();
        let change = ours.begin_change("k");
        let message = change.message().to_owned();
        ours.receive(message.as_bytes());
        assert_eq!(generation.current(), before);
        change.resolve(true);
        let after = generation.current();
        assert!(after.is_next_after(before));
        ours.receive(message.as_bytes());
        ours.begin_change("k").resolve(false);
        ours.receive(theirs.release_message("k").as_bytes());
        ours.receive(theirs.begin_change("unknown").message().as_bytes());
        assert_eq!(generation.current(), after);
        ours.receive(theirs.begin_change("k").message().as_bytes());
        assert!(generation.current().is_next_after(after));
    }

    #[test]
    fn inv19_a_change_without_an_answer_is_uncertain_and_counts_when_its_message_comes() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        let message = ours.begin_change("k").message().to_owned();
        let uncertain = generation.current();
        assert!(uncertain != before && uncertain.has_same_changes(before));
        ours.receive(message.as_bytes());
        assert!(generation.current().is_next_after(uncertain));
        ours.receive(message.as_bytes());
        assert!(generation.current().is_next_after(uncertain), "once");

        drop(ours.begin_change("another"));
        assert!(ours.own().is_empty());
    }

    #[test]
    fn inv19_strange_messages_and_those_of_a_later_version_do_no_harm() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        for message in ["", "k", "k changed", "k sung x", "\u{1F600}", &"k changed x ".repeat(100)] {
            ours.receive(message.as_bytes());
        }
        ours.receive(b"\xff");
        assert_eq!(generation.current(), before);
        ours.receive(b"k changed somebody 7 and more");
        assert!(generation.current().is_next_after(before));
    }

    #[test]
    fn inv19_copies_that_come_over_several_links_are_one_change() {
        let (ours, theirs) = (announcements(), announcements());
        let generation = ours.generation("k");
        let before = generation.current();
        let message = theirs.begin_change("k").message().to_owned();
        for _ in 0..3 {
            ours.receive(message.as_bytes());
        }
        assert!(generation.current().is_next_after(before));
        for _ in 0..2 * MAX_HEARD {
            ours.receive(theirs.release_message("k").as_bytes());
        }
        assert!(ours.heard.lock().unwrap().len() <= MAX_HEARD);
    }

    /// A user of the server whose only right is PUBLISH guesses the next message of a sender, and sends it first.
    #[test]
    fn inv19_a_forged_message_keeps_no_change_from_being_noticed() {
        let (ours, theirs) = (announcements(), announcements());
        let generation = ours.generation("k");
        let seen = theirs.begin_change("k").message().to_owned();
        ours.receive(seen.as_bytes());
        let (words, number) = seen.rsplit_once(' ').unwrap();
        let guessed = format!("{words} {}", number.parse::<u64>().unwrap() + 1);
        for forged in
            [guessed.clone(), guessed.replacen('k', "another", 1), guessed.replace("changed", "released")]
        {
            ours.receive(forged.as_bytes());
        }
        let before = generation.current();
        ours.receive(theirs.begin_change("k").message().as_bytes());
        assert!(generation.current().is_next_after(before), "the change itself is taken for a copy");
    }

    #[test]
    fn inv19_a_forged_message_with_the_number_of_a_change_of_ours_is_none_of_ours() {
        let ours = announcements();
        let (generation, another) = (ours.generation("k"), ours.generation("another"));
        let change = ours.begin_change("k");
        let (before, before_another) = (generation.current(), another.current());
        ours.receive(change.message().replacen('k', "another", 1).as_bytes());
        assert!(another.current().is_next_after(before_another));
        ours.receive(change.message().as_bytes());
        assert_eq!(generation.current(), before, "ours is counted when it is answered");
    }

    #[test]
    fn inv19_what_is_known_of_changes_is_bounded() {
        let ours = announcements();
        ours.begin_change("k").resolve(false);
        assert!(ours.own().is_empty(), "nothing is announced of it");
        let (first, generation) = (ours.begin_change("k"), ours.generation("k"));
        for _ in 0..2 * MAX_OWN {
            ours.begin_change("another").resolve(true);
        }
        assert!(ours.own().len() <= MAX_OWN);
        let before = generation.current();
        ours.receive(first.message().as_bytes());
        assert!(generation.current().is_next_after(before), "what is forgotten is asked for again");
    }

    #[test]
    fn inv19_marking_all_keys_as_uncertain_forgets_the_messages_that_were_lost_with_the_connection() {
        let ours = announcements();
        let generation = ours.generation("k");
        ours.begin_change("k").resolve(true);
        let under_way = ours.begin_change("k");
        assert_eq!(ours.own().len(), 2);
        ours.mark_all_uncertain();
        assert!(ours.own().is_empty(), "the list grows with each lost connection");
        let before = generation.current();
        ours.receive(under_way.message().as_bytes());
        assert!(generation.current().is_next_after(before), "what is forgotten counts as anybody's");
    }

    #[test]
    fn inv32_what_was_under_way_when_this_process_was_forked_off_is_somebody_elses_change() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        let change = ours.begin_change("k");
        for process in ours.own().values_mut() {
            *process += 1;
        }
        ours.receive(change.message().as_bytes());
        assert!(generation.current().is_next_after(before));
    }

    #[test]
    fn a_subscriber_receives_every_message() {
        let ours = announcements();
        let mut waiting = ours.subscribe();
        ours.receive(ours.release_message("k").as_bytes());
        let message = waiting.try_recv().unwrap();
        assert_eq!((message.hash.as_str(), message.kind), ("k", MessageKind::Released));
    }
}
