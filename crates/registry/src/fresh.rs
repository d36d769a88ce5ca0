//! Answers that may change: asked once for many, and kept for less than a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache as SharedCache;

use crate::error::Error;
use crate::port::Freshness;

/// How old an answer that may change can be and still serve another caller. Shorter than the shortest interval at which one
/// should ask, so that nobody is ever served his own last answer.
pub(crate) const RECENT: Duration = Duration::from_millis(900);

/// Repositories of which something is remembered.
pub(crate) const REPOSITORIES: u64 = 10_000;

/// Answers that may change, each with the time at which it was asked for.
pub(crate) type Answers<K, V> = SharedCache<K, (Instant, V)>;

/// An answer that may change: the recent one of somebody with the same rights, or the one that is being fetched for
/// them, or a new one.
///
/// Where it has to be new, an answer counts that was asked for after this question: many who ask anew at the same time
/// still share, except for the one question that is under way when they come.
///
/// Also returns whether the answer was had without asking for it here.
pub(crate) async fn shared<K, V, A>(
    answers: &Answers<K, V>,
    key: K,
    freshness: Freshness,
    ask: impl Fn() -> A,
) -> Result<(V, bool), Error>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    A: Future<Output = Result<V, Error>>,
{
    let asked = Instant::now();
    loop {
        if freshness == Freshness::Now && answers.get(&key).await.is_some_and(|(begun, _)| begun < asked) {
            answers.invalidate(&key).await;
        }
        let mut hit = true;
        let fetch = async {
            hit = false;
            Ok((Instant::now(), ask().await?))
        };
        let (begun, answer) = answers
            .try_get_with(key.clone(), fetch)
            .await
            .map_err(|error: Arc<Error>| Error::clone(&error))?;
        // Ends at the second turn at the latest: whatever is fetched from now on is begun after `asked`.
        if freshness == Freshness::Recent || begun >= asked {
            return Ok((answer, hit));
        }
    }
}
