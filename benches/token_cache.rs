//! What a token costs when it comes for the first time, and when it comes again: both through the
//! one door, `Authenticator::authenticate`.
//!
//! `cargo bench --bench token_cache` prints the times, and at the end how many times cheaper the
//! second is. Nothing is asserted: a busy machine must not make it red.

#[path = "../tests/it/auth/issuer.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod issuer;
#[path = "../tests/it/auth/jwks_server.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod jwks_server;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use issuer::{TestKey, hs256, offer};
use jwks_server::JwksServer;
use loquat::{
    auth::{Authenticator, Credential},
    config::Settings,
    lifecycle::Lifecycle,
};
use secrecy::SecretString;
use serde_json::json;
use tokio::runtime::Runtime;

/// Enough that one of them is out of the processor's nearest cache when it comes again.
const TOKENS: usize = 256;

/// Tokens of one kind, and who trusts them.
struct Bench {
    settings: Settings,
    tokens: Vec<Credential>,
    stranger: String,
}

impl Bench {
    fn new(key: &TestKey, settings: Settings) -> Self {
        Self {
            settings,
            tokens: (0..TOKENS).map(|_| credential(key)).collect(),
            stranger: token(key),
        }
    }

    /// One that has its keys, and has seen none of the tokens.
    fn authenticator(&self, runtime: &Runtime) -> Authenticator {
        runtime.block_on(async {
            let authenticator = Authenticator::new(&self.settings, &Lifecycle::new())
                .expect("a usable configuration");
            let outcome = offer(&authenticator, self.stranger.as_str()).await;
            outcome.expect("the keys are there");
            authenticator
        })
    }

    /// How long the first so many of them take.
    fn time(&self, authenticator: &Authenticator, tokens: usize) -> Duration {
        let start = Instant::now();
        for token in &self.tokens[..tokens] {
            let outcome = authenticator.authenticate(token).now_or_never();
            let outcome = outcome.expect("nothing to wait for");
            std::hint::black_box(outcome.expect("a good token"));
        }
        start.elapsed()
    }
}

/// As Supabase makes them, about.
fn token(key: &TestKey) -> String {
    key.token(
        json!({ "kid": "3a7e9d54-1c0b-4f0f-9a55-6a7f0c2b8d11" }),
        json!({
            "sub": "0e9f8a5e-6c0f-4b4e-9d4f-3f2a3f1f7c11",
            "email": "ada@example.org",
            "phone": "",
            "app_metadata": { "provider": "email", "providers": ["email"] },
            "user_metadata": { "full_name": "Ada Lovelace", "email_verified": true },
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{ "method": "password", "timestamp": 1_700_000_000 }],
            "session_id": "7d1f6c0a-52fb-4b86-8e39-0c5a4a0f2d55",
            "is_anonymous": false,
        }),
    )
}

fn credential(key: &TestKey) -> Credential {
    Credential::Bearer(SecretString::from(token(key)))
}

/// The best time of a token, over all samples.
fn keep_best(best: &Cell<Duration>, total: Duration, iterations: u64) {
    let each = total.div_f64(iterations as f64);
    best.set(best.get().min(each));
}

#[expect(clippy::print_stdout, reason = "the ratios are for whoever runs it")]
fn token_cache(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut ratios = Vec::new();
    for key in [
        hs256(),
        TestKey::p256_a(),
        TestKey::ed25519_a(),
        TestKey::rsa_a(),
    ] {
        let published = key.published("3a7e9d54-1c0b-4f0f-9a55-6a7f0c2b8d11", json!({}));
        let server = runtime.block_on(JwksServer::start(&[published]));
        let bench = Bench::new(&key, server.settings_with_secret());
        let (first, again) = (Cell::new(Duration::MAX), Cell::new(Duration::MAX));

        let mut group = criterion.benchmark_group(format!("{:?}", key.algorithm));
        group.bench_function("first", |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                let mut left = usize::try_from(iterations).expect("a number of tokens");
                while left > 0 {
                    let authenticator = bench.authenticator(&runtime);
                    let tokens = left.min(TOKENS);
                    total += bench.time(&authenticator, tokens);
                    left -= tokens;
                }
                keep_best(&first, total, iterations);
                total
            });
        });
        let authenticator = bench.authenticator(&runtime);
        bench.time(&authenticator, TOKENS);
        group.bench_function("again", |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                let mut left = usize::try_from(iterations).expect("a number of tokens");
                while left > 0 {
                    let tokens = left.min(TOKENS);
                    total += bench.time(&authenticator, tokens);
                    left -= tokens;
                }
                keep_best(&again, total, iterations);
                total
            });
        });
        group.finish();
        ratios.push((key.algorithm, first.get(), again.get()));
    }
    for (algorithm, first, again) in ratios {
        let ratio = again.div_duration_f64(first);
        println!(
            "{algorithm:?}: {first:?}, again {again:?}: {:.1} %",
            100.0 * ratio
        );
    }
}

criterion_group!(benches, token_cache);
criterion_main!(benches);
