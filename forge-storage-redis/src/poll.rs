//! Asking several servers the same at once.

use std::future::Future;
use std::time::Duration;

use forge_core::StorageError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The others are waited for as long again as the first one took, within these bounds.
const SHORTEST_GRACE: Duration = Duration::from_millis(10);
const LONGEST_GRACE: Duration = Duration::from_millis(100);
/// Who does not answer at all. A keeper's attempt ends then, too.
const LONGEST: Duration = Duration::from_secs(1);

/// The answers that came at about the time of the first one.
///
/// # Errors
///
/// None came: what one of them failed with.
pub(crate) async fn poll<T, F>(questions: impl IntoIterator<Item = F>) -> Result<Vec<T>, StorageError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StorageError>> + Send + 'static,
{
    let begun = Instant::now();
    let mut asked: JoinSet<_> = questions.into_iter().collect();
    let mut failure = StorageError::new("no server of Redis is known that could be asked");
    let first = timeout(LONGEST, async {
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => failure = error,
                Err(_) => {}
            }
        }
        None
    });
    let first = match first.await {
        Ok(Some(first)) => first,
        Ok(None) => return Err(failure),
        Err(_) => return Err(StorageError::new("nobody answered in time")),
    };
    let grace = begun.elapsed().clamp(SHORTEST_GRACE, LONGEST_GRACE);
    let mut answers = vec![first];
    let rest = async {
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer.into_iter().flatten());
        }
    };
    tokio::select! {
        () = rest => {}
        () = sleep(grace) => {}
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::Pin;

    use super::*;

    type Question = Pin<Box<dyn Future<Output = Result<u32, StorageError>> + Send>>;

    fn after(millis: u64, answer: Result<u32, &'static str>) -> Question {
        Box::pin(async move {
            sleep(Duration::from_millis(millis)).await;
            answer.map_err(StorageError::new)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_or_fails_is_not_waited_for() {
        let begun = Instant::now();
        let asked =
            [after(5, Ok(1)), after(9, Ok(2)), after(1, Err("no")), after(90, Ok(3)), Box::pin(pending())];
        let mut answers = poll(asked).await.unwrap();
        answers.sort_unstable();
        assert_eq!(answers, [1, 2]);
        assert_eq!(begun.elapsed(), Duration::from_millis(15));

        let begun = Instant::now();
        let answers = poll([after(50, Ok(1)), after(95, Ok(2)), after(101, Ok(3))]).await.unwrap();
        assert_eq!((answers.len(), begun.elapsed()), (2, Duration::from_millis(100)));
        let begun = Instant::now();
        assert_eq!(poll([after(50, Ok(1))]).await.unwrap(), [1]);
        assert_eq!(begun.elapsed(), Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_it_ends_in_time_and_says_why() {
        let begun = Instant::now();
        let error = poll([after(5, Err("refused")), Box::pin(pending())]).await.unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        assert_eq!(begun.elapsed(), LONGEST);
        let error = poll([after(5, Err("refused"))]).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        let nobody: [Question; 0] = [];
        assert!(poll(nobody).await.is_err());
    }
}
