//! How often the keys are fetched, on a clock that moves only when it is told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::time::{Instant, advance};
use tokio_util::sync::CancellationToken;

use super::{
    AuthError, COOL_DOWN, FETCH_TIME_LIMIT, FIRST_RETRY, FetchError, Jwks, KeySet, LONGEST_RETRY,
    TrustedKeys,
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

    async fn ask(&self, kid: &str) -> Result<TrustedKeys, AuthError> {
        self.jwks.keys_for(Some(kid), Algorithm::EdDSA).await
    }

    async fn find(&self, kid: &str) -> &'static str {
        match self.ask(kid).await {
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
    assert_eq!(issuer.find("x").await, "unknown");
    for n in 0..1_000 {
        assert_eq!(issuer.find(&format!("x{n}")).await, "unavailable");
    }
    assert_eq!(issuer.fetches(), 2);

    pass(COOL_DOWN - Duration::from_millis(1)).await;
    assert_eq!(issuer.find("x").await, "unavailable");
    assert_eq!(issuer.fetches(), 2);

    pass(Duration::from_millis(1)).await;
    assert_eq!(issuer.find("x").await, "unknown");
    assert_eq!(issuer.find("y").await, "unavailable");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_appears_in_the_cool_down_is_found_when_its_bearer_was_told_to_come_back() {
    let issuer = Issuer::start(|n| Answer::Keys(if n < 3 { &["a"] } else { &["a", "b"] }));
    assert_eq!(issuer.find("a").await, "found");
    assert_eq!(issuer.find("stranger").await, "unknown");
    pass(Duration::from_secs(4)).await;
    let Err(AuthError::Unavailable { retry_after }) = issuer.ask("b").await else {
        panic!("nothing is known of this key");
    };
    assert_eq!(retry_after, COOL_DOWN - Duration::from_secs(4));
    assert_eq!(issuer.find("a").await, "found", "nobody else is kept out");
    pass(retry_after).await;
    assert_eq!(issuer.find("b").await, "found");
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_share_one_fetch_and_its_answer() {
    let issuer = Issuer::start(|_| Answer::Keys(&["a"]));
    assert_eq!(issuer.find("a").await, "found");
    let kids: Vec<_> = (0..1_000).map(|n| format!("x{n}")).collect();
    let outcomes = join_all(kids.iter().map(|kid| issuer.find(kid))).await;
    assert_eq!(outcomes, ["unknown"; 1_000]);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_generation_lasts_as_long_as_the_keys_are_the_same() {
    let issuer = Issuer::start(|n| match n {
        1 => Answer::Keys(&["a", "b"]),
        2 => Answer::Keys(&["b", "a"]),
        3 => Answer::Failure,
        4 => Answer::Keys(&["a"]),
        _ => Answer::Keys(&["a", "b"]),
    });
    let mut generation = issuer.ask("a").await.expect("a key").generation;
    for (pause, has_changed) in [
        (AGE, false),
        (AGE, false),
        (FIRST_RETRY, true),
        (AGE, true),
        (AGE, false),
    ] {
        pass(pause).await;
        assert_eq!(issuer.jwks.is_current(generation), !has_changed);
        generation = issuer.ask("a").await.expect("a key").generation;
        assert!(issuer.jwks.is_current(generation));
    }
    assert_eq!(issuer.fetches(), 6);
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
        2 => Answer::Failure,
        _ => Answer::Keys(&["a", "b"]),
    });
    assert_eq!(issuer.find("a").await, "found");
    for _ in 0..200 {
        assert_eq!(issuer.find("b").await, "unavailable");
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(issuer.find("a").await, "found");
    // The failure is soon mended of itself, whatever the cool-down.
    let Err(AuthError::Unavailable { retry_after }) = issuer.ask("b").await else {
        panic!("nothing is known of this key");
    };
    assert_eq!(retry_after, FIRST_RETRY);
    pass(retry_after).await;
    assert_eq!(issuer.find("b").await, "found");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_one_fetch_may_take() {
    let issuer = Issuer::start(|n| match n {
        1 => Answer::Keys(&["a"]),
        _ => Answer::Silence,
    });
    assert_eq!(issuer.find("a").await, "found");
    let begin = Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        (issuer.find("y").await, begin.elapsed())
    };
    let (early, late) = tokio::join!(issuer.find("x"), late);
    assert_eq!(early, "unavailable");
    assert_eq!(late, ("unavailable", FETCH_TIME_LIMIT));
}
