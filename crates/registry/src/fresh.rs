//! Answers that may change: asked once for many, and kept for less than a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache as SharedCache;

use crate::error::Error;
use crate::port::Freshness;

/// The age up to which an answer that may change serves other callers. It is shorter than the shortest interval of a
/// caller, so that a caller never gets its own last answer again.
pub(crate) const RECENT: Duration = Duration::from_millis(900);

/// Most repositories about which facts are remembered.
pub(crate) const REPOSITORIES: u64 = 10_000;

/// Answers that may change, each with the time at which it was asked for.
pub(crate) type Answers<K, V> = SharedCache<K, (Instant, V)>;

/// Returns an answer that may change: a recent answer to a caller with the same rights, the answer that is being
/// fetched for such a caller, or a new one.
///
/// With `Freshness::Now`, only a request that started after this call counts. Many callers at the same time still share
/// a request, unless it was already running when they called.
///
/// Also returns whether the answer came without a request of this call.
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
        // Ends in the second round at the latest: a request that starts now starts after `asked`.
        if freshness == Freshness::Recent || begun >= asked {
            return Ok((answer, hit));
        }
    }
}
