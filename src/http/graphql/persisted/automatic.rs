//! What signed-in users have sent with its SHA-256, so that it can be asked for by that.
//!
//! Invariant: what comes out has the digest that it was asked for by, whoever brought it. What goes
//! in is bounded, in memory by entries and bytes, and for each user by how often they may add
//! anything. Nothing depends on it: a client whose document is not here sends it again.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::Cache};
use tokio::time::Instant;

use super::{Digest, digest_of};
use crate::{
    broker::{KEPT_FOR, Redis},
    model::UserId,
};

/// The longest document that is kept, in bytes. Longer ones run, and are sent each time.
const LONGEST: usize = 32 * 1024;

/// How much is kept in memory: as many bytes, and as many documents. Beyond it what has been least
/// used goes.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
const MOST_DOCUMENTS: u64 = 4096;

/// How many new documents a user may add at once, and after how long they may add another: as many
/// as a large app has, and few enough that nobody fills a Redis.
const BURST: NonZeroU32 = NonZeroU32::new(500).expect("not zero");
const REFILL: Duration = Duration::from_secs(60);

/// After how many additions those users are forgotten who have their whole burst again.
const SWEEP: u32 = 1024;

type Budgets = RateLimiter<UserId, HashMapStateStore<UserId>, DefaultClock>;

pub(super) struct Automatic {
    documents: Cache<Digest, Arc<Kept>, Weight>,
    budgets: Budgets,
    additions: AtomicU32,
    /// Where other processes find them.
    redis: Option<Redis>,
}

struct Kept {
    text: Arc<str>,
    /// When it was last put into Redis, or found there.
    shared: Mutex<Option<Instant>>,
}

/// A short document counts as its share of all bytes, which bounds their number.
#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Arc<Kept>> for Weight {
    fn weight(&self, _: &Digest, kept: &Arc<Kept>) -> u64 {
        (kept.text.len() as u64).max(MOST_BYTES / MOST_DOCUMENTS)
    }
}

impl Automatic {
    pub fn new(redis: Option<Redis>) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(MOST_DOCUMENTS).unwrap_or(usize::MAX))
            .weight_capacity(MOST_BYTES)
            // Each has its share of the bytes, in which many long documents must fit.
            .shards(4)
            .build()
            .expect("a capacity is all that it needs");
        let quota = Quota::with_period(REFILL)
            .expect("not zero")
            .allow_burst(BURST);
        Self {
            documents: Cache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                Default::default(),
            ),
            budgets: RateLimiter::hashmap(quota),
            additions: AtomicU32::new(0),
            redis,
        }
    }

    /// The document of this digest, from here or from another process. Waits for that no longer
    /// than Redis may take.
    pub async fn find(&self, digest: &Digest) -> Option<Arc<str>> {
        if let Some(kept) = self.documents.get(digest) {
            self.share(digest, &kept).await;
            return Some(kept.text.clone());
        }
        let text = self.redis.as_ref()?.recall(digest).await?;
        let text = String::from_utf8(text).ok()?;
        if digest_of(&text) != *digest {
            return None;
        }
        let kept = Arc::new(Kept {
            text: text.into(),
            shared: Mutex::new(Some(Instant::now())),
        });
        let text = kept.text.clone();
        self.documents.insert(*digest, kept);
        Some(text)
    }

    /// Keeps the document of this digest for whoever asks.
    pub async fn keep(&self, digest: Digest, text: &Arc<str>, user_id: UserId) {
        if text.len() > LONGEST || self.documents.get(&digest).is_some() {
            return;
        }
        if self.additions.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.budgets.retain_recent();
        }
        if self.budgets.check_key(&user_id).is_err() {
            return;
        }
        let kept = Arc::new(Kept {
            text: text.clone(),
            shared: Mutex::new(None),
        });
        self.documents.insert(digest, kept.clone());
        // The client's next request may go to another process.
        self.share(&digest, &kept).await;
    }

    /// Sees to it that Redis has it for long enough.
    async fn share(&self, digest: &Digest, kept: &Kept) {
        let Some(redis) = &self.redis else { return };
        let now = Instant::now();
        let shared = || kept.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |at: Instant| now.duration_since(at) < KEPT_FOR / 2;
        if !shared().is_some_and(is_fresh) && redis.keep(digest, kept.text.as_bytes()).await {
            *shared() = Some(now);
        }
    }
}

impl std::fmt::Debug for Automatic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Automatic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n: usize, length: usize) -> Arc<str> {
        format!("{{ a{n} }}{}", " ".repeat(length)).into()
    }

    async fn keep(automatic: &Automatic, text: &Arc<str>, user_id: UserId) -> Digest {
        let digest = digest_of(text);
        automatic.keep(digest, text, user_id).await;
        digest
    }

    #[tokio::test]
    async fn what_was_kept_is_found_by_its_digest() {
        let automatic = Automatic::new(None);
        let document = text(1, 0);
        let digest = keep(&automatic, &document, UserId::new()).await;
        assert_eq!(automatic.find(&digest).await, Some(document));
        assert_eq!(automatic.find(&digest_of("{ b }")).await, None);
    }

    #[tokio::test]
    async fn it_holds_no_more_documents_and_bytes_than_it_may_and_what_is_used_stays() {
        for (length, many) in [(0, 5000), (LONGEST - 100, 600)] {
            let automatic = Automatic::new(None);
            let used = keep(&automatic, &text(0, length), UserId::new()).await;
            for n in 1..many {
                keep(&automatic, &text(n, length), UserId::new()).await;
                assert!(automatic.find(&used).await.is_some(), "after {n}");
            }
            assert!(automatic.documents.len() as u64 <= MOST_DOCUMENTS);
            let bytes: usize = automatic
                .documents
                .iter()
                .map(|(_, kept)| kept.text.len())
                .sum();
            assert!(bytes as u64 <= MOST_BYTES, "{bytes}");
            let filled = automatic.documents.weight();
            assert!(filled > MOST_BYTES / 2, "{filled}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_kept() {
        let automatic = Automatic::new(None);
        let longest = text(1, LONGEST - text(1, 0).len());
        let digest = keep(&automatic, &longest, UserId::new()).await;
        assert!(automatic.find(&digest).await.is_some());
        let digest = keep(&automatic, &text(1, LONGEST), UserId::new()).await;
        assert_eq!(automatic.find(&digest).await, None);
    }

    #[tokio::test]
    async fn a_user_may_add_so_many_and_the_others_are_not_touched() {
        let automatic = Automatic::new(None);
        let (one, other) = (UserId::new(), UserId::new());
        let burst = BURST.get() as usize;
        for n in 0..burst + 10 {
            let digest = keep(&automatic, &text(n, 0), one).await;
            assert_eq!(automatic.find(&digest).await.is_some(), n < burst, "{n}");
        }
        // What is known costs nothing.
        keep(&automatic, &text(0, 0), one).await;
        let digest = keep(&automatic, &text(burst + 20, 0), other).await;
        assert!(automatic.find(&digest).await.is_some());
    }
}
