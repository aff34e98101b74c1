//! Asking several servers the same at once, and whom to believe.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::StorageError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// What one server says of where the others are.
pub(crate) trait Word: Send + 'static {
    /// The greater, the newer.
    fn epoch(&self) -> u64;

    /// Whether who says it is in touch with the others.
    fn is_sound(&self) -> bool {
        true
    }
}

/// Asks, and remembers how new the word was that was followed: an older one is not followed after it.
pub(crate) struct Poll {
    limit: Duration,
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    epoch: u64,
    /// Since when only older words are heard, and not from all.
    missed_since: Option<Instant>,
}

/// When a word has come that is new enough, the others are waited for as long again as it took, within these
/// bounds.
const SHORTEST_GRACE: Duration = Duration::from_millis(10);
const LONGEST_GRACE: Duration = Duration::from_millis(100);
/// While the few who have answered are cut off from the others. Whether they still are is to be asked soon.
const HOPE: Duration = Duration::from_secs(3);
/// Who knew better is gone for good when it was not heard of for so long: the servers were set up anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

impl Poll {
    /// `limit`: how long those are waited for who do not answer at all.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, followed: Mutex::default() }
    }

    /// Of the word that was followed last.
    pub(crate) fn epoch(&self) -> u64 {
        self.followed().epoch
    }

    /// The newest word, which is to be followed if it is sound.
    ///
    /// # Errors
    ///
    /// There is none: what one of them failed with. Or all are older than the one that was followed last, and
    /// some have not answered.
    pub(crate) async fn newest<T, F>(&self, questions: impl IntoIterator<Item = F>) -> Result<T, StorageError>
    where
        T: Word,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        self.sought(self.epoch(), questions).await
    }

    /// The same, and all are waited for as long as nobody says anything newer than this.
    ///
    /// # Errors
    ///
    /// As of [`newest`](Self::newest).
    pub(crate) async fn newer_than<T, F>(
        &self,
        epoch: u64,
        questions: impl IntoIterator<Item = F>,
    ) -> Result<T, StorageError>
    where
        T: Word,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        self.sought(epoch.saturating_add(1), questions).await
    }

    async fn sought<T, F>(
        &self,
        epoch: u64,
        questions: impl IntoIterator<Item = F>,
    ) -> Result<T, StorageError>
    where
        T: Word,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let begun = Instant::now();
        let mut asked: JoinSet<_> = questions.into_iter().collect();
        let all = asked.len();
        let mut until = begun + self.limit;
        let mut failure = StorageError::new("no server of Redis is known that could be asked");
        let mut newest: Option<T> = None;
        let mut answers = 0;
        loop {
            let Ok(next) = timeout_at(until, asked.join_next()).await else {
                failure = StorageError::new("nobody answered in time");
                break;
            };
            let word = match next {
                Some(Ok(Ok(word))) => word,
                Some(Ok(Err(error))) => {
                    failure = error;
                    continue;
                }
                Some(Err(_)) => continue,
                None => break,
            };
            answers += 1;
            let rank = |word: &T| (word.is_sound(), word.epoch());
            if newest.as_ref().is_none_or(|newest| rank(newest) < rank(&word)) {
                newest = Some(word);
            }
            let grace = Instant::now() + begun.elapsed().clamp(SHORTEST_GRACE, LONGEST_GRACE);
            until = match &newest {
                Some(newest) if newest.is_sound() && newest.epoch() >= epoch => until.min(grace),
                Some(newest) if newest.is_sound() => begun + self.limit,
                // Those who are cut off are not the few, but the others.
                _ if answers * 2 > all => until.min(grace),
                _ => until.min(begun + HOPE),
            };
        }
        let newest = newest.ok_or(failure)?;
        self.follow(&newest, asked.is_empty())?;
        Ok(newest)
    }

    fn follow(&self, word: &impl Word, is_last: bool) -> Result<(), StorageError> {
        if !word.is_sound() {
            return Ok(());
        }
        let mut followed = self.followed();
        if word.epoch() < followed.epoch && !is_last {
            let since = *followed.missed_since.get_or_insert_with(Instant::now);
            if since.elapsed() < FORGOTTEN_AFTER {
                return Err(StorageError::new("who knew a newer configuration does not answer"));
            }
        }
        *followed = Followed { epoch: word.epoch(), missed_since: None };
        Ok(())
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::Pin;

    use tokio::time::sleep;

    use super::*;

    type Question = Pin<Box<dyn Future<Output = Result<Said, StorageError>> + Send>>;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Said {
        Sound(u64),
        CutOff(u64),
    }
    use Said::{CutOff, Sound};

    impl Word for Said {
        fn epoch(&self) -> u64 {
            let (Sound(epoch) | CutOff(epoch)) = self;
            *epoch
        }

        fn is_sound(&self) -> bool {
            matches!(self, Sound(_))
        }
    }

    const LIMIT: Duration = Duration::from_secs(20);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(time: u64, said: Said) -> Question {
        Box::pin(async move {
            sleep(millis(time)).await;
            Ok(said)
        })
    }

    fn refused(time: u64) -> Question {
        Box::pin(async move {
            sleep(millis(time)).await;
            Err(StorageError::new("refused"))
        })
    }

    fn never() -> Question {
        Box::pin(pending())
    }

    /// What is followed, and how long that took.
    async fn newest<const N: usize>(poll: &Poll, asked: [Question; N]) -> (Result<Said, String>, Duration) {
        let begun = Instant::now();
        let newest = poll.newest(asked).await;
        (newest.map_err(|error| error.to_string()), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_or_fails_is_not_waited_for() {
        let asked = [after(5, Sound(1)), after(9, Sound(2)), refused(1), after(90, Sound(3)), never()];
        assert_eq!(newest(&Poll::new(LIMIT), asked).await, (Ok(Sound(2)), millis(15)));
        let asked = [after(50, Sound(1)), after(95, Sound(2)), after(101, Sound(3))];
        assert_eq!(newest(&Poll::new(LIMIT), asked).await, (Ok(Sound(2)), millis(100)));
        assert_eq!(newest(&Poll::new(LIMIT), [after(50, Sound(1))]).await, (Ok(Sound(1)), millis(50)));
        assert_eq!(
            newest(&Poll::new(LIMIT), [after(5_000, Sound(1))]).await.0,
            Ok(Sound(1)),
            "the limit is 20 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_it_ends_in_time_and_says_why() {
        let (error, took) = newest(&Poll::new(LIMIT), [refused(5), never()]).await;
        assert!(error.unwrap_err().contains("in time"));
        assert_eq!(took, LIMIT);
        let (error, _) = newest(&Poll::new(LIMIT), [refused(5)]).await;
        assert!(error.unwrap_err().contains("refused"));
        assert!(newest(&Poll::new(LIMIT), []).await.0.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_is_near_and_those_who_are_not_are_waited_for() {
        let far = || [after(1, CutOff(9)), after(48, Sound(2)), after(50, Sound(3)), never()];
        assert_eq!(newest(&Poll::new(LIMIT), far()).await, (Ok(Sound(3)), millis(96)));
        // Nobody better comes.
        assert_eq!(newest(&Poll::new(LIMIT), [after(1, CutOff(9)), never()]).await, (Ok(CutOff(9)), HOPE));
        // Most of them say so: it is the whole that is not well.
        let most = [after(1, CutOff(9)), after(2, CutOff(9)), never()];
        assert_eq!(newest(&Poll::new(LIMIT), most).await, (Ok(CutOff(9)), millis(12)));
        let one = [after(1, CutOff(9)), refused(7)];
        assert_eq!(newest(&Poll::new(LIMIT), one).await, (Ok(CutOff(9)), millis(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_word_than_the_last_one_is_followed_only_if_all_say_so() {
        let poll = Poll::new(LIMIT);
        assert_eq!(newest(&poll, [after(1, Sound(5))]).await.0, Ok(Sound(5)));
        let late = [after(1, Sound(4)), after(7_000, Sound(5)), never()];
        assert_eq!(newest(&poll, late).await, (Ok(Sound(5)), millis(7_100)));
        let silent = || [after(1, Sound(4)), refused(5), never()];
        let (error, took) = newest(&poll, silent()).await;
        assert!(error.unwrap_err().contains("does not answer"));
        assert_eq!((took, poll.epoch()), (LIMIT, 5));
        // What is cut off changes nothing.
        assert_eq!(newest(&poll, [after(1, CutOff(9))]).await.0, Ok(CutOff(9)));
        assert_eq!(poll.epoch(), 5);

        // Set up anew: all say so, or who does not is gone for good.
        assert_eq!(
            newest(&poll, [after(1, Sound(2)), after(5, Sound(3)), refused(7)]).await,
            (Ok(Sound(3)), millis(7))
        );
        assert_eq!(poll.epoch(), 3);
        let gone = || [after(1, Sound(1)), never()];
        let begun = Instant::now();
        while newest(&poll, gone()).await.0.is_err() {
            assert!(begun.elapsed() < FORGOTTEN_AFTER * 2);
        }
        assert!(begun.elapsed() >= FORGOTTEN_AFTER);
        assert_eq!(poll.epoch(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_waited_for_until_one_knows_something_newer() {
        let poll = Poll::new(LIMIT);
        assert_eq!(newest(&poll, [after(1, Sound(5))]).await.0, Ok(Sound(5)));
        let begun = Instant::now();
        assert_eq!(
            poll.newer_than(5, [after(1, Sound(5)), after(700, Sound(6)), never()]).await.unwrap(),
            Sound(6)
        );
        assert_eq!(begun.elapsed(), millis(800));
        let begun = Instant::now();
        assert_eq!(poll.newer_than(6, [after(1, Sound(6)), never()]).await.unwrap(), Sound(6));
        assert_eq!(begun.elapsed(), LIMIT);
        let begun = Instant::now();
        assert_eq!(poll.newer_than(6, [after(1, Sound(6)), refused(9)]).await.unwrap(), Sound(6));
        assert_eq!(begun.elapsed(), millis(9));
    }
}
