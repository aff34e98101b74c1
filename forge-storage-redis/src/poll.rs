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
