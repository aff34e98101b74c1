//! What those who share a storage tell each other, over a channel of their own.

use std::fmt;

use forge_core::{Freshness, Generation, Generations};
use tokio::sync::broadcast;

/// One storage's ear and voice.
#[derive(Debug)]
pub(crate) struct Announcements {
    channel: String,
    /// Tells our messages from those of others.
    origin: String,
    /// By the hash of the key.
    generations: Generations,
    waiting: broadcast::Sender<Message>,
}

/// `{hash of the key} {what} {origin}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) hash: String,
    pub(crate) news: News,
    origin: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The token is another one, or gone.
    Changed,
    /// The lease is free.
    Released,
}

impl Announcements {
    pub(crate) fn new(prefix: &str, freshness: Freshness) -> Self {
        Self {
            channel: format!("requestforge:{prefix}"),
            origin: format!("{:016x}", fastrand::u64(..)),
            generations: Generations::with_freshness(freshness),
            waiting: broadcast::channel(QUEUE).0,
        }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Names this storage among all that share a server.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// What to send, for news of this key.
    pub(crate) fn message(&self, hash: &str, news: News) -> String {
        Message { hash: hash.to_owned(), news, origin: self.origin.clone() }.to_string()
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
        let Some(message) = std::str::from_utf8(message).ok().and_then(Message::parse) else { return };
        // Our own changes were counted when they were made.
        if message.news == News::Changed && message.origin != self.origin {
            self.generations.bump(&message.hash);
        }
        // Nobody need be waiting.
        let _ = self.waiting.send(message);
    }

    /// We have changed a key.
    pub(crate) fn changed(&self, hash: &str) {
        self.generations.bump(hash);
    }

    /// We may have changed a key.
    pub(crate) fn doubt(&self, hash: &str) {
        self.generations.doubt(hash);
    }

    /// Messages may have been missed.
    pub(crate) fn doubt_all(&self) {
        self.generations.doubt_all();
    }
}

/// Who waits and lags behind by more asks again.
const QUEUE: usize = 64;

impl Message {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (hash, news, origin) = (words.next()?, words.next()?, words.next()?);
        let news = match news {
            "changed" => News::Changed,
            "released" => News::Released,
            _ => return None,
        };
        Some(Self { hash: hash.to_owned(), news, origin: origin.to_owned() })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let news = match self.news {
            News::Changed => "changed",
            News::Released => "released",
        };
        write!(f, "{} {news} {}", self.hash, self.origin)
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
        let generation = ours.generation("k");
        let before = generation.current();
        ours.hear(ours.message("k", News::Changed).as_bytes());
        ours.hear(theirs.message("k", News::Released).as_bytes());
        ours.hear(theirs.message("unknown", News::Changed).as_bytes());
        assert_eq!(generation.current(), before);
        ours.hear(theirs.message("k", News::Changed).as_bytes());
        assert!(generation.current().is_next_after(before));
    }

    #[test]
    fn inv19_strange_messages_and_those_of_a_later_version_do_no_harm() {
        let ours = announcements();
        let generation = ours.generation("k");
        let before = generation.current();
        for message in ["", "k", "k changed", "k sung x", "\u{1F600}"] {
            ours.hear(message.as_bytes());
        }
        ours.hear(b"\xff");
        assert_eq!(generation.current(), before);
        ours.hear(b"k changed somebody and more");
        assert!(generation.current().is_next_after(before));
    }

    #[test]
    fn who_waits_hears_of_everything() {
        let ours = announcements();
        let mut waiting = ours.listen();
        ours.hear(ours.message("k", News::Released).as_bytes());
        let message = waiting.try_recv().unwrap();
        assert_eq!((message.hash.as_str(), message.news), ("k", News::Released));
    }
}
