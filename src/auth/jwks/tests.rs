//! How often the keys are fetched, on a clock that moves only when it is told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

use super::{
    AuthError, COOL_DOWN, FETCH_TIME_LIMIT, FIRST_RETRY, FetchError, Jwks, KeySet, LONGEST_RETRY,
};

const AGE: Duration = Duration::from_secs(300);

/// The n-th fetch, from 1, is answered by `answer(n)`.
struct Issuer {
    jwks: Jwks,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let fetches = Arc::new(AtomicUsize::new(0));
        let (jwks, keeper) = Jwks::kept(AGE);
        let counter = Arc::clone(&fetches);
        let answer = Arc::new(answer);
        let fetch = move || {
            let answer = answer(counter.fetch_add(1, Ordering::SeqCst) + 1);
            async move {
                match answer {
                    Answer::Keys(kids) => Ok(key_set(kids)),
                    Answer::Failure => Err(FetchError::TooLong),
                    Answer::Silence => std::future::pending().await,
                }
            }
        };
        tokio::spawn(keeper.run(fetch, CancellationToken::new()));
        Self { jwks, fetches }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn find(&self, kid: &str) -> &'static str {
        match self.jwks.keys_for(Some(kid), Algorithm::EdDSA).await {
            Ok(_) => "found",
            Err(AuthError::Refused(_)) => "unknown",
            Err(AuthError::Unavailable { .. }) => "unavailable",
        }
    }
}

enum Answer {
    Keys(&'static [&'static str]),
    Failure,
    Silence,
}

fn key_set(kids: &[&str]) -> KeySet {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "A".repeat(43) }))
        .collect();
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}

/// Lets the task do what the new time asks of it.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_fetch_in_a_cool_down() {
    let issuer = Issuer::start(|_| Answer::Keys(&["a"]));
    assert_eq!(issuer.find("a").await, "found");
    for n in 0..200 {
        assert_eq!(issuer.find(&format!("x{n}")).await, "unknown");
    }
    assert_eq!(issuer.fetches(), 2);

    pass(COOL_DOWN - Duration::from_millis(1)).await;
    assert_eq!(issuer.find("x").await, "unknown");
    assert_eq!(issuer.fetches(), 2);

    pass(Duration::from_millis(1)).await;
    assert_eq!(issuer.find("x").await, "unknown");
    assert_eq!(issuer.find("y").await, "unknown");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_appears_in_the_cool_down_is_found_after_it() {
    let issuer = Issuer::start(|n| Answer::Keys(if n < 3 { &["a"] } else { &["a", "b"] }));
    assert_eq!(issuer.find("a").await, "found");
    assert_eq!(issuer.find("b").await, "unknown");
    assert_eq!(issuer.find("b").await, "unknown");
    pass(COOL_DOWN).await;
    assert_eq!(issuer.find("b").await, "found");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_set_of_age_is_fetched_again_and_what_was_taken_back_is_gone() {
    let issuer = Issuer::start(|n| Answer::Keys(if n == 1 { &["a"] } else { &["b"] }));
    assert_eq!(issuer.find("a").await, "found");
    pass(AGE - Duration::from_millis(1)).await;
    assert_eq!(issuer.find("a").await, "found");
    pass(Duration::from_millis(1)).await;
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(issuer.find("b").await, "found");
    assert_eq!(issuer.find("a").await, "unknown");
}

#[tokio::test(start_paused = true)]
async fn an_outage_takes_no_key_away_and_is_over_when_it_is_over() {
    let issuer = Issuer::start(|n| match n {
        1 => Answer::Keys(&["a"]),
        2..=5 => Answer::Failure,
        6 => Answer::Silence,
        _ => Answer::Keys(&["b"]),
    });
    assert_eq!(issuer.find("a").await, "found");
    pass(AGE).await;
    // After 1, 2, 4 and 8 seconds; the last is silent until its time is up, then 16 more.
    for seconds in [1, 2, 4, 8] {
        assert_eq!(issuer.find("a").await, "found");
        pass(Duration::from_secs(seconds)).await;
    }
    assert_eq!(issuer.fetches(), 6);
    pass(FETCH_TIME_LIMIT).await;
    assert_eq!(issuer.find("a").await, "found");
    pass(Duration::from_secs(16)).await;
    assert_eq!(issuer.fetches(), 7);
    assert_eq!(issuer.find("b").await, "found");
}

#[tokio::test(start_paused = true)]
async fn retries_grow_rare_but_never_rarer_than_the_longest_wait() {
    let issuer = Issuer::start(|_| Answer::Failure);
    assert_eq!(issuer.find("a").await, "unavailable");
    for _ in 0..100 {
        let before = issuer.fetches();
        let Err(AuthError::Unavailable { retry_after }) =
            issuer.jwks.keys_for(None, Algorithm::EdDSA).await
        else {
            panic!("nothing has ever been fetched");
        };
        assert!((FIRST_RETRY..=LONGEST_RETRY).contains(&retry_after));
        assert_eq!(issuer.fetches(), before, "asking makes no fetch of its own");
        pass(retry_after).await;
        assert_eq!(issuer.fetches(), before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_in_an_outage_asks_no_oftener_than_the_cool_down() {
    let issuer = Issuer::start(|n| match n {
        1 => Answer::Keys(&["a"]),
        _ => Answer::Failure,
    });
    assert_eq!(issuer.find("a").await, "found");
    for n in 0..200 {
        assert_eq!(issuer.find(&format!("x{n}")).await, "unknown");
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(issuer.find("a").await, "found");
}
