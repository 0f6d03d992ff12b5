//! The public keys of an issuer, fetched by one task and read by everybody.
//!
//! The task fetches at the start, then whenever the set has reached its age, and once more when a
//! token names a key that is not in it, though not oftener than a cool-down allows. All who wait
//! share its one fetch. Keys that are known outlive an outage of the issuer, for as long as it
//! lasts; a key that the issuer takes back is gone with the next fetch that succeeds.
//!
//! Invariant: a key counts as unknown only after a fetch that succeeded while somebody waited for
//! it. In the cool-down, and where the fetch fails, nothing is known of a key that is not in the
//! set: its issuer may have begun to sign with it this second. Whoever bears its token is told to
//! come back, which concerns nobody else.

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
mod survey;

pub(super) use fetch::is_loopback;
pub use survey::{KeySurvey, SurveyError, SurveyedKey, survey};

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

/// A key set, for as long as the issuer publishes this one.
#[derive(Clone, Debug)]
pub(super) struct TrustedKeys {
    pub set: Arc<KeySet>,
    pub generation: Generation,
}

/// Counts the sets of one issuer: a fetch that brings the same keys again changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

#[derive(Clone, Debug)]
struct State {
    /// The set of the last fetch that succeeded; `None` until one has.
    keys: Option<TrustedKeys>,
    /// How many fetches have ended, well or not.
    attempts: u64,
    /// Whether the newest of them has ended well.
    is_fresh: bool,
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
            is_fresh: false,
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
    pub fn known(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<TrustedKeys> {
        let state = self.states.borrow();
        state.fitting(kid, algorithm).cloned()
    }

    /// Whether what was verified with the keys of this generation would still be.
    pub fn is_current(&self, generation: Generation) -> bool {
        let state = self.states.borrow();
        let keys = state.keys.as_ref();
        keys.is_some_and(|keys| keys.generation == generation)
    }

    /// The same. Waits for a fetch at most.
    pub async fn keys_for(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<TrustedKeys, AuthError> {
        let mut states = self.states.clone();
        let seen = states.borrow_and_update().clone();
        if let Some(keys) = seen.fitting(kid, algorithm) {
            return Ok(keys.clone());
        }
        if !seen.is_fetching {
            if Instant::now() < seen.next_chance() {
                return Err(unavailable(&seen));
            }
            self.wanted.notify_one();
        }
        // The task is gone only when the process ends.
        let now = match states.wait_for(|now| now.attempts > seen.attempts).await {
            Ok(now) => now.clone(),
            Err(_) => return Err(unavailable(&seen)),
        };
        match now.fitting(kid, algorithm) {
            Some(keys) => Ok(keys.clone()),
            None if now.is_fresh => Err(Check::UnknownKey.into()),
            None => Err(unavailable(&now)),
        }
    }
}

impl State {
    fn fitting(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&TrustedKeys> {
        let keys = self.keys.as_ref();
        keys.filter(|keys| keys.set.has_candidate(kid, algorithm))
    }

    /// When a key that is not in the set may come to be. Before any set is there, all wait for
    /// one, and none can hurry it.
    fn next_chance(&self) -> Instant {
        match self.keys {
            Some(_) => self.cooled_down.min(self.due),
            None => self.due,
        }
    }
}

fn unavailable(state: &State) -> AuthError {
    AuthError::Unavailable {
        retry_after: state
            .next_chance()
            .saturating_duration_since(Instant::now())
            .max(FIRST_RETRY),
    }
}

impl TrustedKeys {
    fn after(before: Option<&Self>, fetched: KeySet) -> Self {
        let generation = match before {
            Some(before) if *before.set == fetched => before.generation,
            Some(before) => Generation(before.generation.0 + 1),
            None => Generation(0),
        };
        Self {
            set: Arc::new(fetched),
            generation,
        }
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
            state.is_fresh = keys.is_some();
            if let Some(keys) = keys {
                state.keys = Some(TrustedKeys::after(state.keys.as_ref(), keys));
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
                jwks.known_keys = state.keys.as_ref().map_or(0, |keys| keys.set.len()),
                "could not fetch the key set of the issuer, it will be tried again"
            ),
            Ok(keys)
                if failures_before > 0
                    || state.keys.as_ref().is_none_or(|known| *known.set != *keys) =>
            {
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
