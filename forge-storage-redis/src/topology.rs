//! Asks several servers for the topology at the same time, and chooses the answer to follow.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::StorageError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// The answer of one server: the addresses of the masters.
pub(crate) trait TopologyAnswer: Send + 'static {
    /// The greater the epoch, the newer the answer.
    fn epoch(&self) -> u64;

    /// Whether the server that answered is in touch with the others.
    fn is_sound(&self) -> bool {
        true
    }
}

/// Asks for the topology, and remembers the epoch of the answer that was followed last. It does not follow an older answer.
///
/// Crash: a server that was down or is cut off still names the old master. With its answer this process would write tokens
/// to a server that the other processes no longer use.
pub(crate) struct TopologyQuery {
    limit: Duration,
    memory: Mutex<EpochMemory>,
}

/// The epoch that was followed last.
#[derive(Default)]
struct EpochMemory {
    epoch: u64,
    /// The time since which only older answers have come while some servers were silent. `None`: the last answer was newer.
    missed_since: Option<Instant>,
}

/// After an answer that is new enough, the other servers get as much time again as this answer took, but at least 10 ms. The
/// nearest server answers first, and it may be the one that is cut off. Servers in the same data centre answer within 10 ms
/// of each other, even on a busy machine.
const MIN_GRACE: Duration = Duration::from_millis(10);
/// The other servers get 100 ms at most, since a caller may be waiting. That is the default time-out of a command, and about
/// the round trip between two continents.
const MAX_GRACE: Duration = Duration::from_millis(100);
/// How long to wait for the other servers if all answers so far come from servers that are cut off. Three seconds are enough
/// for servers that are busy with a failover. A longer wait would not help: when the partition ends, a server that was cut
/// off gives a better answer only to a new question.
const MAX_PARTITION_WAIT: Duration = Duration::from_secs(3);
/// After this time with older answers only, follow them. The servers that knew the newer epoch are then gone for good: an
/// operator has replaced the deployment, and its epochs have begun anew. A restart or a failover ends within a minute.
const FORGET_EPOCH_AFTER: Duration = Duration::from_secs(60);

impl TopologyQuery {
    /// A query that waits at most for `limit` for servers that do not answer.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, memory: Mutex::default() }
    }

    /// The epoch of the answer that was followed last.
    pub(crate) fn epoch(&self) -> u64 {
        self.memory().epoch
    }

    /// Returns the newest answer. The caller may follow it if it is sound.
    ///
    /// # Errors
    ///
    /// No server answered; this is the error of one of them. Or all answers are older than the one that was followed last,
    /// and some servers have not answered.
    pub(crate) async fn newest<T, F>(&self, questions: impl IntoIterator<Item = F>) -> Result<T, StorageError>
    where
        T: TopologyAnswer,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        self.ask(self.epoch(), questions).await
    }

    /// As [`newest`](Self::newest), but waits for all servers, unless one answers with a newer epoch than this.
    ///
    /// # Errors
    ///
    /// As [`newest`](Self::newest).
    pub(crate) async fn newer_than<T, F>(
        &self,
        epoch: u64,
        questions: impl IntoIterator<Item = F>,
    ) -> Result<T, StorageError>
    where
        T: TopologyAnswer,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        self.ask(epoch.saturating_add(1), questions).await
    }

    async fn ask<T, F>(&self, epoch: u64, questions: impl IntoIterator<Item = F>) -> Result<T, StorageError>
    where
        T: TopologyAnswer,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let begun = Instant::now();
        let mut asked: JoinSet<_> = questions.into_iter().collect();
        let all = asked.len();
        let mut until = begun + self.limit;
        let mut failure = StorageError::new("there is no Redis server to ask");
        let mut newest: Option<T> = None;
        let mut answers = 0;
        loop {
            let Ok(next) = timeout_at(until, asked.join_next()).await else {
                failure = StorageError::new("no server answered in time");
                break;
            };
            let answer = match next {
                Some(Ok(Ok(answer))) => answer,
                Some(Ok(Err(error))) => {
                    failure = error;
                    continue;
                }
                Some(Err(_)) => continue,
                None => break,
            };
            answers += 1;
            let rank = |answer: &T| (answer.is_sound(), answer.epoch());
            if newest.as_ref().is_none_or(|newest| rank(newest) < rank(&answer)) {
                newest = Some(answer);
            }
            let grace = Instant::now() + begun.elapsed().clamp(MIN_GRACE, MAX_GRACE);
            until = match &newest {
                Some(newest) if newest.is_sound() && newest.epoch() >= epoch => until.min(grace),
                Some(newest) if newest.is_sound() => begun + self.limit,
                // The majority is cut off, so the whole cluster is down. No better answer will come.
                _ if answers * 2 > all => until.min(grace),
                _ => until.min(begun + MAX_PARTITION_WAIT),
            };
        }
        let newest = newest.ok_or(failure)?;
        self.follow(&newest, asked.is_empty())?;
        Ok(newest)
    }

    fn follow(&self, answer: &impl TopologyAnswer, is_last: bool) -> Result<(), StorageError> {
        if !answer.is_sound() {
            return Ok(());
        }
        let mut memory = self.memory();
        if answer.epoch() < memory.epoch && !is_last {
            let since = *memory.missed_since.get_or_insert_with(Instant::now);
            if since.elapsed() < FORGET_EPOCH_AFTER {
                return Err(StorageError::new("the server that had a newer configuration does not answer"));
            }
        }
        *memory = EpochMemory { epoch: answer.epoch(), missed_since: None };
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, EpochMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::Pin;

    use tokio::time::sleep;

    use super::*;

    type Question = Pin<Box<dyn Future<Output = Result<TestAnswer, StorageError>> + Send>>;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum TestAnswer {
        Sound(u64),
        CutOff(u64),
    }
    use TestAnswer::{CutOff, Sound};

    impl TopologyAnswer for TestAnswer {
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

    fn after(time: u64, said: TestAnswer) -> Question {
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

    /// The newest answer, and how long the query took.
    async fn newest<const N: usize>(
        poll: &TopologyQuery,
        asked: [Question; N],
    ) -> (Result<TestAnswer, String>, Duration) {
        let begun = Instant::now();
        let newest = poll.newest(asked).await;
        (newest.map_err(|error| error.to_string()), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_or_fails_is_not_waited_for() {
        let asked = [after(5, Sound(1)), after(9, Sound(2)), refused(1), after(90, Sound(3)), never()];
        assert_eq!(newest(&TopologyQuery::new(LIMIT), asked).await, (Ok(Sound(2)), millis(15)));
        let asked = [after(50, Sound(1)), after(95, Sound(2)), after(101, Sound(3))];
        assert_eq!(newest(&TopologyQuery::new(LIMIT), asked).await, (Ok(Sound(2)), millis(100)));
        assert_eq!(
            newest(&TopologyQuery::new(LIMIT), [after(50, Sound(1))]).await,
            (Ok(Sound(1)), millis(50))
        );
        assert_eq!(
            newest(&TopologyQuery::new(LIMIT), [after(5_000, Sound(1))]).await.0,
            Ok(Sound(1)),
            "the limit is 20 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_it_ends_in_time_and_says_why() {
        let (error, took) = newest(&TopologyQuery::new(LIMIT), [refused(5), never()]).await;
        assert!(error.unwrap_err().contains("in time"));
        assert_eq!(took, LIMIT);
        let (error, _) = newest(&TopologyQuery::new(LIMIT), [refused(5)]).await;
        assert!(error.unwrap_err().contains("refused"));
        assert!(newest(&TopologyQuery::new(LIMIT), []).await.0.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_is_near_and_those_who_are_not_are_waited_for() {
        let far = || [after(1, CutOff(9)), after(48, Sound(2)), after(50, Sound(3)), never()];
        assert_eq!(newest(&TopologyQuery::new(LIMIT), far()).await, (Ok(Sound(3)), millis(96)));
        // No better answer comes.
        assert_eq!(
            newest(&TopologyQuery::new(LIMIT), [after(1, CutOff(9)), never()]).await,
            (Ok(CutOff(9)), MAX_PARTITION_WAIT)
        );
        // Most servers are cut off, so the whole cluster is down.
        let most = [after(1, CutOff(9)), after(2, CutOff(9)), never()];
        assert_eq!(newest(&TopologyQuery::new(LIMIT), most).await, (Ok(CutOff(9)), millis(12)));
        let one = [after(1, CutOff(9)), refused(7)];
        assert_eq!(newest(&TopologyQuery::new(LIMIT), one).await, (Ok(CutOff(9)), millis(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_answer_than_the_last_one_is_followed_only_if_all_say_so() {
        let poll = TopologyQuery::new(LIMIT);
        assert_eq!(newest(&poll, [after(1, Sound(5))]).await.0, Ok(Sound(5)));
        let late = [after(1, Sound(4)), after(7_000, Sound(5)), never()];
        assert_eq!(newest(&poll, late).await, (Ok(Sound(5)), millis(7_100)));
        let silent = || [after(1, Sound(4)), refused(5), never()];
        let (error, took) = newest(&poll, silent()).await;
        assert!(error.unwrap_err().contains("does not answer"));
        assert_eq!((took, poll.epoch()), (LIMIT, 5));
        // The answer of a server that is cut off changes nothing.
        assert_eq!(newest(&poll, [after(1, CutOff(9))]).await.0, Ok(CutOff(9)));
        assert_eq!(poll.epoch(), 5);

        // The deployment was replaced: all servers have older epochs, or the others are silent for good.
        assert_eq!(
            newest(&poll, [after(1, Sound(2)), after(5, Sound(3)), refused(7)]).await,
            (Ok(Sound(3)), millis(7))
        );
        assert_eq!(poll.epoch(), 3);
        let gone = || [after(1, Sound(1)), never()];
        let begun = Instant::now();
        while newest(&poll, gone()).await.0.is_err() {
            assert!(begun.elapsed() < FORGET_EPOCH_AFTER * 2);
        }
        assert!(begun.elapsed() >= FORGET_EPOCH_AFTER);
        assert_eq!(poll.epoch(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_waited_for_until_one_knows_something_newer() {
        let poll = TopologyQuery::new(LIMIT);
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
