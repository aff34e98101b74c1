//! What those who share a storage tell each other, over a channel of their own.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use forge_core::{Freshness, Generation, Generations};
use tokio::sync::broadcast;

/// One storage's ear and voice.
#[derive(Debug)]
pub(crate) struct Announcements {
    channel: String,
    /// Tells our messages from those of others.
    origin: String,
    numbers: AtomicU64,
    /// The numbers of our messages that we cannot tell the fate of.
    unanswered: Mutex<HashSet<u64>>,
    /// What was heard last. Every link to a cluster hears the same.
    heard: Mutex<VecDeque<(String, u64)>>,
    /// By the hash of the key.
    generations: Generations,
    waiting: broadcast::Sender<Message>,
}

/// `{hash of the key} {what} {origin} {number}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) hash: String,
    pub(crate) news: News,
    origin: String,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The token is another one, or gone.
    Changed,
    /// The lease is free.
    Released,
}

/// A change that is on its way. Dropped without having been settled, it leaves doubt: it may have been
/// made.
pub(crate) struct Change<'a> {
    announcements: &'a Announcements,
    hash: &'a str,
    number: u64,
    is_settled: bool,
}

impl Announcements {
    pub(crate) fn new(prefix: &str, freshness: Freshness) -> Self {
        Self {
            channel: format!("requestforge:{prefix}"),
            origin: format!("{:016x}{:016x}", entropy(), entropy()),
            numbers: AtomicU64::new(UNNUMBERED + 1),
            unanswered: Mutex::default(),
            heard: Mutex::default(),
            generations: Generations::with_freshness(freshness),
            waiting: broadcast::channel(QUEUE).0,
        }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// A name that nobody else has, on any machine.
    pub(crate) fn new_name(&self) -> String {
        format!("{} {}", self.origin, self.next_number())
    }

    /// What to send when the lease of this key is given back.
    pub(crate) fn released(&self, hash: &str) -> String {
        self.message(hash, News::Released, self.next_number())
    }

    /// Begins a change of this key.
    pub(crate) fn change<'a>(&'a self, hash: &'a str) -> Change<'a> {
        Change { announcements: self, hash, number: self.next_number(), is_settled: false }
    }

    pub(crate) fn generation(&self, hash: &str) -> Generation {
        self.generations.of(hash)
    }

    /// For those who wait for news of any key.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Message> {
        self.waiting.subscribe()
    }

    /// A message has come. What cannot be read is not for us.
    pub(crate) fn hear(&self, message: &[u8]) {
        if message.len() > LONGEST {
            return;
        }
        let Some(message) = std::str::from_utf8(message).ok().and_then(Message::parse) else { return };
        if self.was_heard(&message) {
            return;
        }
        // Our own changes are counted when they are answered.
        let is_counted = message.origin == self.origin && !self.unanswered().remove(&message.number);
        if message.news == News::Changed && !is_counted {
            self.generations.bump(&message.hash);
        }
        // Nobody need be waiting.
        let _ = self.waiting.send(message);
    }

    /// Messages may have been missed.
    pub(crate) fn doubt_all(&self) {
        // What was unanswered then is in doubt with the rest.
        self.unanswered().clear();
        self.generations.doubt_all();
    }

    fn was_heard(&self, message: &Message) -> bool {
        if message.number == UNNUMBERED {
            return false;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.iter().any(|(origin, number)| *number == message.number && *origin == message.origin) {
            return true;
        }
        if heard.len() >= MOST_HEARD {
            heard.pop_front();
        }
        heard.push_back((message.origin.clone(), message.number));
        false
    }

    fn message(&self, hash: &str, news: News, number: u64) -> String {
        Message { hash: hash.to_owned(), news, origin: self.origin.clone(), number }.to_string()
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn unanswered(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits and lags behind by more asks again.
const QUEUE: usize = 64;
/// Copies of a message come within moments.
const MOST_HEARD: usize = 256;
/// Those of other versions, maybe.
const UNNUMBERED: u64 = 0;
/// No message of ours is longer, nor one of the next versions.
const LONGEST: usize = 256;
/// Beyond that many, doubting everything is cheaper.
const MOST_UNANSWERED: usize = 1_000;

/// From the system, so that forked processes and copies of machines do not have the same.
fn entropy() -> u64 {
    RandomState::new().hash_one(0)
}

impl Change<'_> {
    /// What to send with it.
    pub(crate) fn message(&self) -> String {
        self.announcements.message(self.hash, News::Changed, self.number)
    }

    /// The server has answered, and says whether the change was made.
    pub(crate) fn settle(mut self, is_made: bool) {
        self.is_settled = true;
        if is_made {
            self.announcements.generations.bump(self.hash);
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        // It may still be made, later: then its message counts as anybody's.
        let too_many = {
            let mut unanswered = self.announcements.unanswered();
            unanswered.insert(self.number);
            unanswered.len() > MOST_UNANSWERED
        };
        if too_many {
            self.announcements.doubt_all();
        } else {
            self.announcements.generations.doubt(self.hash);
        }
    }
}

impl Message {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (hash, news, origin) = (words.next()?, words.next()?, words.next()?);
        let news = match news {
            "changed" => News::Changed,
            "released" => News::Released,
            _ => return None,
        };
        let number = words.next().and_then(|number| number.parse().ok()).unwrap_or(UNNUMBERED);
        Some(Self { hash: hash.to_owned(), news, origin: origin.to_owned(), number })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let news = match self.news {
            News::Changed => "changed",
            News::Released => "released",
        };
        write!(f, "{} {news} {} {}", self.hash, self.origin, self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn announcements() -> Announcements {
        let freshness =
            Freshness { recheck_after: Duration::from_secs(10), trusted_for: Duration::from_secs(60) };
        Announcements::new("token", freshness)
    }

    #[test]
    fn inv19_what_others_change_is_a_change_and_what_we_change_is_none_twice() {
        let (ours, theirs) = (announcements(), announcements());
        assert_eq!(ours.channel(), "requestforge:token");
        assert_ne!(ours.new_name(), theirs.new_name());
        let generation = ours.generation("k");
        let before = generation.current();
        let change = ours.change("k");
        let message = change.message();
        ours.hear(message.as_bytes());
        assert_eq!(generation.current(), before);
        change.settle(true);
        let after = generation.current();
        assert!(after.is_next_after(before));
        ours.hear(message.as_bytes());
        ours.change("k").settle(false);
        ours.hear(theirs.released("k").as_bytes());
        ours.hear(theirs.change("unknown").message().as_bytes());
        assert_eq!(generation.current(), after);
        ours.hear(theirs.change("k").message().as_bytes());
        assert!(generation.current().is_next_after(after));
    }

    #[test]
    fn inv19_a_change_without_an_answer_is_in_doubt_and_counts_when_it_is_heard_of() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        let message = ours.change("k").message();
        let doubted = generation.current();
        assert!(doubted != before && doubted.has_same_changes(before));
        ours.hear(message.as_bytes());
        assert!(generation.current().is_next_after(doubted));
        ours.hear(message.as_bytes());
        assert!(generation.current().is_next_after(doubted), "once");

        for _ in 0..5 * MOST_UNANSWERED {
            drop(ours.change("another"));
        }
        assert!(ours.unanswered().len() <= MOST_UNANSWERED);
    }

    #[test]
    fn inv19_strange_messages_and_those_of_a_later_version_do_no_harm() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        for message in ["", "k", "k changed", "k sung x", "\u{1F600}", &"k changed x ".repeat(100)] {
            ours.hear(message.as_bytes());
        }
        ours.hear(b"\xff");
        assert_eq!(generation.current(), before);
        ours.hear(b"k changed somebody 7 and more");
        assert!(generation.current().is_next_after(before));
    }

    #[test]
    fn inv19_copies_that_come_over_several_links_are_one_change() {
        let (ours, theirs) = (announcements(), announcements());
        let generation = ours.generation("k");
        let before = generation.current();
        let message = theirs.change("k").message();
        for _ in 0..3 {
            ours.hear(message.as_bytes());
        }
        assert!(generation.current().is_next_after(before));
        for _ in 0..2 * MOST_HEARD {
            ours.hear(theirs.released("k").as_bytes());
        }
        assert!(ours.heard.lock().unwrap().len() <= MOST_HEARD);
    }

    #[test]
    fn who_waits_hears_of_everything() {
        let ours = announcements();
        let mut waiting = ours.listen();
        ours.hear(ours.released("k").as_bytes());
        let message = waiting.try_recv().unwrap();
        assert_eq!((message.hash.as_str(), message.news), ("k", News::Released));
    }
}
