//! The public keys of an issuer, fetched by one task and read by everybody.
//!
//! The task fetches at the start, then whenever the set has reached its age, and once more when a
//! token names a key that is not in it, though not oftener than a cool-down allows. All who wait
//! share its one fetch. Keys that are known outlive an outage of the issuer, for as long as it
//! lasts; a key that the issuer takes back is gone with the next fetch that succeeds.

use std::{future::Future, sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{AuthError, error::Check};
use crate::lifecycle::Lifecycle;

mod fetch;
mod keys;

pub(super) use fetch::is_loopback;

use fetch::{FetchError, Fetcher};
use keys::KeySet;

/// The time between two fetches that unknown keys have caused.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// One fetch, from the connection to the last byte.
const FETCH_TIME_LIMIT: Duration = Duration::from_secs(5);
/// The waits after failures double from the first to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// However short the configured age.
const SHORTEST_AGE: Duration = Duration::from_secs(1);

/// A handle to the keys. The task ends with the last of them, or with the lifecycle's hard stop.
#[derive(Clone, Debug)]
pub(super) struct Jwks {
    states: watch::Receiver<State>,
    wanted: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct State {
    /// The set of the last fetch that succeeded; `None` until one has.
    keys: Option<Arc<KeySet>>,
    /// How many fetches have ended, well or not.
    attempts: u64,
    is_fetching: bool,
    /// When the next fetch is due of itself.
    due: Instant,
    /// When an unknown key may cause the next one.
    cooled_down: Instant,
}

impl Jwks {
    pub fn start(url: &Url, age: Duration, lifecycle: &Lifecycle) -> Result<Self, reqwest::Error> {
        let fetcher = Arc::new(Fetcher::new(url)?);
        let (jwks, keeper) = Self::kept(age);
        let stop = lifecycle.hard_stop().clone();
        let fetch = move || {
            let fetcher = Arc::clone(&fetcher);
            async move { fetcher.fetch().await }
        };
        lifecycle.spawn(async move { keeper.run(fetch, stop).await });
        Ok(jwks)
    }

    fn kept(age: Duration) -> (Self, Keeper) {
        let now = Instant::now();
        let (sender, states) = watch::channel(State {
            keys: None,
            attempts: 0,
            is_fetching: true,
            due: now,
            cooled_down: now,
        });
        let wanted = Arc::new(Notify::new());
        let keeper = Keeper {
            states: sender,
            wanted: Arc::clone(&wanted),
            age: age.max(SHORTEST_AGE),
        };
        (Self { states, wanted }, keeper)
    }

    /// A set with a key that may have signed a token of this header, if it is at hand.
    pub fn known(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<KeySet>> {
        let keys = self.states.borrow().keys.clone()?;
        keys.has_candidate(kid, algorithm).then_some(keys)
    }

    /// The same. Waits for a fetch at most.
    pub async fn keys_for(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<KeySet>, AuthError> {
        let mut states = self.states.clone();
        let seen = states.borrow_and_update().clone();
        let now = Instant::now();
        match seen.keys {
            Some(keys) if keys.has_candidate(kid, algorithm) => return Ok(keys),
            Some(_) if !seen.is_fetching && now < seen.cooled_down => {
                return Err(Check::UnknownKey.into());
            }
            None if !seen.is_fetching => return Err(unavailable(seen.due)),
            Some(_) if !seen.is_fetching => self.wanted.notify_one(),
            _ => {}
        }
        // The task is gone only when the process ends.
        let now = match states.wait_for(|now| now.attempts > seen.attempts).await {
            Ok(now) => now.clone(),
            Err(_) => return Err(unavailable(seen.due)),
        };
        match now.keys {
            Some(keys) if keys.has_candidate(kid, algorithm) => Ok(keys),
            Some(_) => Err(Check::UnknownKey.into()),
            None => Err(unavailable(now.due)),
        }
    }
}

fn unavailable(due: Instant) -> AuthError {
    AuthError::Unavailable {
        retry_after: due
            .saturating_duration_since(Instant::now())
            .max(FIRST_RETRY),
    }
}

/// The one that fetches.
struct Keeper {
    states: watch::Sender<State>,
    /// At most one wish is remembered: it is for whatever is newest.
    wanted: Arc<Notify>,
    age: Duration,
}

impl Keeper {
    async fn run<F, Fut>(self, fetch: F, stop: CancellationToken)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<KeySet, FetchError>>,
    {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.states.closed() => {}
            () = self.keep(fetch) => {}
        }
    }

    async fn keep<F, Fut>(&self, fetch: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<KeySet, FetchError>>,
    {
        let mut failures = 0;
        let mut was_wanted = false;
        loop {
            self.states.send_modify(|state| state.is_fetching = true);
            let fetched = tokio::time::timeout(FETCH_TIME_LIMIT, fetch())
                .await
                .unwrap_or(Err(FetchError::TimeLimit));
            self.log(&fetched, failures);
            failures = match &fetched {
                Ok(_) => 0,
                Err(_) => failures.saturating_add(1),
            };
            let (due, cooled_down) = self.store(fetched.ok(), failures, was_wanted);
            was_wanted = self.wait(due, cooled_down).await;
        }
    }

    /// What a fetch has brought, and when the next may be.
    fn store(&self, keys: Option<KeySet>, failures: u32, was_wanted: bool) -> (Instant, Instant) {
        let now = Instant::now();
        let due = now + self.pause(failures);
        let mut cooled_down = now;
        self.states.send_modify(|state| {
            if let Some(keys) = keys {
                state.keys = Some(Arc::new(keys));
            }
            if was_wanted {
                state.cooled_down = now + COOL_DOWN;
            }
            state.attempts += 1;
            state.is_fetching = false;
            state.due = due;
            cooled_down = state.cooled_down;
        });
        (due, cooled_down)
    }

    fn pause(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => self.age,
            Some(doublings) => FIRST_RETRY
                .saturating_mul(2_u32.saturating_pow(doublings))
                .min(LONGEST_RETRY)
                .min(self.age),
        }
    }

    /// True: an unknown key ended the wait. A wish that comes too early is forgotten, for whoever
    /// had it has been told of the cool-down, or of the fetch that caused it.
    async fn wait(&self, due: Instant, cooled_down: Instant) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => return false,
                () = self.wanted.notified() => {
                    if Instant::now() >= cooled_down {
                        return true;
                    }
                }
            }
        }
    }

    /// The first failure, the recovery and each new set, not every attempt.
    fn log(&self, fetched: &Result<KeySet, FetchError>, failures_before: u32) {
        let state = self.states.borrow();
        match fetched {
            Err(error) if failures_before == 0 => tracing::warn!(
                error = error as &dyn std::error::Error,
                jwks.known_keys = state.keys.as_ref().map_or(0, |keys| keys.len()),
                "could not fetch the key set of the issuer, it will be tried again"
            ),
            Ok(keys) if failures_before > 0 || state.keys.as_deref() != Some(keys) => {
                tracing::info!(
                    jwks.usable_keys = keys.len(),
                    jwks.skipped_keys = keys.skipped(),
                    jwks.failed_attempts = failures_before,
                    "fetched the key set of the issuer"
                );
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
