//! Published keys: which verify what, rotation, and how often their server is asked.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthError, Authenticator},
    lifecycle::Lifecycle,
};
use serde_json::{Value, json};

use super::{
    issuer::{TestKey, now, offer, reason},
    jwks_server::JwksServer,
    server::{Reply, Server},
};

fn token(key: &TestKey, kid: &str) -> String {
    key.token(json!({ "kid": kid }), json!({}))
}

fn published(key: &TestKey, kid: &str) -> Value {
    key.published(kid, json!({}))
}

#[tokio::test]
async fn each_kind_of_published_key_verifies_its_algorithms() {
    let (rsa, p256, p384, ed) = (
        TestKey::rsa_a(),
        TestKey::p256_a(),
        TestKey::p384_a(),
        TestKey::ed25519_a(),
    );
    // Without an `alg`, the type and the curve decide.
    let without = json!({ "alg": null, "use": null });
    let server = JwksServer::start(&[
        rsa.published("rsa", without.clone()),
        p256.published("p256", without.clone()),
        p384.published("p384", without.clone()),
        ed.published("ed", without),
    ])
    .await;
    let authenticator = server.authenticator();

    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ] {
        let key = TestKey::rsa_a().signing(algorithm);
        let outcome = offer(&authenticator, token(&key, "rsa")).await;
        assert_eq!(reason(&outcome), "accepted", "{algorithm:?}");
    }
    for (key, kid) in [(&p256, "p256"), (&p384, "p384"), (&ed, "ed")] {
        let outcome = offer(&authenticator, token(key, kid)).await;
        assert_eq!(reason(&outcome), "accepted", "{kid}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn the_first_sign_ins_wait_for_one_fetch_together() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    server.close_gate();
    let authenticator = server.authenticator();
    server.reached(1).await;

    let sign_ins = join_all((0..50).map(|_| offer(&authenticator, token(&key, "a"))));
    let (outcomes, ()) = tokio::join!(sign_ins, async { server.open_gate() });

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_thousand_unknown_keys_cause_one_more_fetch() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    let authenticator = server.authenticator();
    assert!(offer(&authenticator, token(&key, "a")).await.is_ok());

    let at_once = join_all((0..500).map(|n| offer(&authenticator, token(&key, &format!("x{n}")))));
    for outcome in at_once.await {
        assert_eq!(reason(&outcome), "no published key fits");
    }
    // From now on nothing is known of other keys, for as long as the cool-down lasts.
    for n in 0..500 {
        let outcome = offer(&authenticator, token(&key, &format!("y{n}"))).await;
        assert_eq!(reason(&outcome), "unavailable");
        if n % 100 == 0 {
            assert!(offer(&authenticator, token(&key, "a")).await.is_ok());
        }
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn nobody_asks_for_the_key_of_a_token_that_no_key_could_save() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    let authenticator = server.authenticator();
    assert!(offer(&authenticator, token(&key, "a")).await.is_ok());

    for (claims, expected) in [
        (json!({ "exp": now() - 600 }), "the token has expired"),
        (json!({ "exp": null }), "a required claim is missing"),
        (
            json!({ "iat": now() + 600 }),
            "the token is from the future",
        ),
        (
            json!({ "sub": "" }),
            "the user claim is missing or unusable",
        ),
        (json!({ "type": "refresh" }), "it is a refresh token"),
        (
            json!({ "iss": "https://evil.test" }),
            "the issuer is another",
        ),
    ] {
        let outcome = offer(&authenticator, key.token(json!({ "kid": "x" }), claims)).await;
        assert_eq!(reason(&outcome), expected);
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_one_before_it_is_gone() {
    let (old, new) = (TestKey::p256_a(), TestKey::p256_b());
    let server = JwksServer::start(&[published(&old, "old")]).await;
    let authenticator = server.authenticator();
    let served = token(&old, "old");
    for _ in 0..2 {
        assert!(offer(&authenticator, served.clone()).await.is_ok());
    }

    server.publish(&[published(&new, "new")]);
    assert!(offer(&authenticator, token(&new, "new")).await.is_ok());
    assert_eq!(server.requests(), 2);

    // Nor does it help that the token was accepted before.
    for gone in [served, token(&old, "old")] {
        let outcome = offer(&authenticator, gone).await;
        assert_eq!(reason(&outcome), "unavailable");
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_fetch_whose_key_is_known() {
    let key = TestKey::rsa_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    let authenticator = server.authenticator();
    assert!(offer(&authenticator, token(&key, "a")).await.is_ok());

    server.close_gate();
    let waiting = tokio::spawn({
        let (authenticator, unknown) = (authenticator.clone(), token(&key, "unknown"));
        async move { offer(&authenticator, unknown).await }
    });
    server.reached(2).await;
    assert!(offer(&authenticator, token(&key, "a")).await.is_ok());
    assert!(!waiting.is_finished());

    server.open_gate();
    let outcome = waiting.await.expect("no panic");
    assert_eq!(reason(&outcome), "no published key fits");
}

#[tokio::test]
async fn an_issuer_that_was_down_at_the_start_is_asked_again() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[]).await;
    server.answer(|| StatusCode::BAD_GATEWAY);
    let authenticator = server.authenticator();

    let outcome = offer(&authenticator, token(&key, "a")).await;
    let Err(AuthError::Unavailable { retry_after }) = outcome else {
        panic!("{}", reason(&outcome));
    };
    assert!((Duration::from_secs(1)..=Duration::from_secs(30)).contains(&retry_after));

    server.publish(&[published(&key, "a")]);
    server.reached(2).await;
    // The answer of the second request is on its way; whoever asks now waits for it.
    assert!(offer(&authenticator, token(&key, "a")).await.is_ok());
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_while_no_key_is_known() {
    let server = JwksServer::start(&[]).await;
    server.answer(|| StatusCode::BAD_GATEWAY);
    let authenticator = server.authenticator();
    let outcome = offer(&authenticator, "not-a-token").await;
    assert_eq!(reason(&outcome), "the token is malformed");
    let foreign = super::issuer::hs256().token(json!({}), json!({}));
    let outcome = offer(&authenticator, foreign).await;
    assert_eq!(reason(&outcome), "the algorithm is not accepted");
}

#[tokio::test]
async fn ten_thousand_keys_are_not_all_looked_at() {
    let (first, last) = (TestKey::ed25519_a(), TestKey::ed25519_b());
    let mut keys = vec![published(&first, "first")];
    keys.extend((0..10_000).map(|_| json!({ "kty": "AKP" })));
    keys.push(published(&last, "last"));
    let server = JwksServer::start(&keys).await;
    let authenticator = server.authenticator();

    assert!(offer(&authenticator, token(&first, "first")).await.is_ok());
    let outcome = offer(&authenticator, token(&last, "last")).await;
    assert_eq!(reason(&outcome), "no published key fits");
}

#[tokio::test]
async fn an_odd_key_verifies_nothing_and_spoils_nothing() {
    let (good, odd) = (TestKey::rsa_a(), TestKey::rsa_b());
    let ec = TestKey::p256_b();
    let ed = TestKey::ed25519_b();
    let with = |key: &TestKey, members: Value| key.published("odd", members);
    let secret = TestKey::secret(b"published-to-everybody", Algorithm::HS256);
    let cases: Vec<(&str, Value, &TestKey)> = vec![
        (
            "unknown type",
            json!({ "kty": "AKP", "kid": "odd", "alg": "ML-DSA-44" }),
            &odd,
        ),
        ("no type", with(&odd, json!({ "kty": null })), &odd),
        ("for encryption", with(&odd, json!({ "use": "enc" })), &odd),
        (
            "for signing alone",
            with(&odd, json!({ "key_ops": ["sign"] })),
            &odd,
        ),
        (
            "the private half is published",
            with(&odd, json!({ "d": "AQAB" })),
            &odd,
        ),
        ("no modulus", with(&odd, json!({ "n": null })), &odd),
        (
            "a modulus of no base64",
            with(&odd, json!({ "n": "+/+/" })),
            &odd,
        ),
        (
            "a modulus of zeros",
            with(&odd, json!({ "n": "A".repeat(342) })),
            &odd,
        ),
        ("no exponent", with(&odd, json!({ "e": "" })), &odd),
        ("kid is a number", with(&odd, json!({ "kid": 7 })), &odd),
        (
            "alg of encryption",
            with(&odd, json!({ "alg": "RSA-OAEP-256" })),
            &odd,
        ),
        (
            "alg of another type",
            with(&odd, json!({ "alg": "ES256" })),
            &odd,
        ),
        (
            "alg of another hash",
            with(&odd, json!({ "alg": "RS384" })),
            &odd,
        ),
        (
            "an RSA key of 1024 bits",
            with(&odd, json!({ "n": format!("{}A", "v".repeat(170)) })),
            &odd,
        ),
        (
            "a point off the curve",
            with(&ec, json!({ "y": "A".repeat(43) })),
            &ec,
        ),
        (
            "a coordinate too short",
            with(&ec, json!({ "x": "AAAA" })),
            &ec,
        ),
        (
            "another curve's name",
            with(&ec, json!({ "crv": "P-384", "alg": "ES384" })),
            &ec,
        ),
        (
            "an Edwards key of half a length",
            with(&ed, json!({ "x": "AAAA" })),
            &ed,
        ),
        (
            "Ed25519 as an EC key",
            with(&ed, json!({ "kty": "EC", "y": "AAAA" })),
            &ed,
        ),
        ("X25519", with(&ed, json!({ "crv": "X25519" })), &ed),
        ("a list", json!([]), &odd),
        ("a null", json!(null), &odd),
        ("symmetric", with(&secret, json!({})), &secret),
    ];
    for (name, odd_key, signer) in cases {
        let server = JwksServer::start(&[odd_key, published(&good, "good")]).await;
        let mut settings = server.settings();
        let issuer = &mut settings.issuers[0];
        issuer.algorithms.push(Algorithm::HS256);
        let authenticator =
            Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");

        let outcome = offer(&authenticator, token(&good, "good")).await;
        assert_eq!(reason(&outcome), "accepted", "{name}: the good key");
        let outcome = offer(&authenticator, token(signer, "odd")).await;
        let expected = match name {
            "a point off the curve" => "the signature is wrong",
            "symmetric" => "the algorithm is not accepted",
            _ => "no published key fits",
        };
        assert_eq!(reason(&outcome), expected, "{name}");
        let outcome = offer(&authenticator, signer.token(json!({}), json!({}))).await;
        assert!(outcome.is_err(), "{name}");
    }
}

#[tokio::test]
async fn the_bearer_of_a_key_too_new_to_be_known_is_told_when_to_come_back_and_nobody_else_is() {
    let key = TestKey::ed25519_a();
    let published = JwksServer::start(&[published(&key, "a")]).await;
    let server = Server::start(published.settings()).await;
    let ask = async |token: String| {
        let bearer = format!("Bearer {token}").into_bytes();
        server.ask(&vec![("authorization", bearer)], "").await
    };
    let user = || Reply::User("user-1".to_owned());
    assert_eq!(ask(token(&key, "a")).await, user());
    assert_eq!(ask(token(&key, "stranger")).await, Reply::Refused);

    for n in 0..20 {
        let reply = ask(token(&key, &format!("new-{n}"))).await;
        assert!(matches!(reply, Reply::Unavailable(1..=10)), "{reply:?}");
        assert_eq!(ask(token(&key, "a")).await, user());
    }
    let reply = server.open(&json!({ "token": token(&key, "new") })).await;
    assert_eq!(reply, Reply::Other("1013 Try again later".to_owned()));
    let reply = server.open(&json!({ "token": token(&key, "a") })).await;
    assert_eq!(reply, user());
    // What no key could save is refused as ever.
    let over = key.token(json!({ "kid": "new" }), json!({ "exp": 0 }));
    assert_eq!(ask(over).await, Reply::Refused);
    assert_eq!(published.requests(), 2);
}

#[tokio::test]
async fn of_two_keys_of_one_name_each_verifies_and_of_twenty_not_all_are_tried() {
    let (one, other) = (TestKey::p256_a(), TestKey::p256_b());
    let server = JwksServer::start(&[published(&one, "same"), published(&other, "same")]).await;
    let authenticator = server.authenticator();
    for key in [&one, &other] {
        let outcome = offer(&authenticator, token(key, "same")).await;
        assert_eq!(reason(&outcome), "accepted");
    }

    let mut keys = vec![published(&one, "same"); 8];
    keys.extend(vec![published(&other, "same"); 12]);
    let server = JwksServer::start(&keys).await;
    let authenticator = server.authenticator();
    let outcome = offer(&authenticator, token(&one, "same")).await;
    assert_eq!(reason(&outcome), "accepted");
    let outcome = offer(&authenticator, token(&other, "same")).await;
    assert_eq!(reason(&outcome), "the signature is wrong");
}

#[tokio::test]
async fn a_set_without_keys_takes_every_key_back() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    let authenticator = server.authenticator();
    let served = token(&key, "a");
    assert!(offer(&authenticator, served.clone()).await.is_ok());

    server.publish(&[]);
    let outcome = offer(&authenticator, token(&key, "b")).await;
    assert_eq!(reason(&outcome), "no published key fits");
    for gone in [served, token(&key, "a")] {
        let outcome = offer(&authenticator, gone).await;
        assert_eq!(reason(&outcome), "unavailable");
    }
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let (old, new) = (TestKey::p256_a(), TestKey::p256_b());
    let server = JwksServer::start(&[published(&old, "a")]).await;
    let authenticator = server.authenticator();
    let early = token(&new, "a");
    for _ in 0..2 {
        let outcome = offer(&authenticator, early.clone()).await;
        assert_eq!(reason(&outcome), "the signature is wrong");
    }

    server.publish(&[published(&new, "a")]);
    let outcome = offer(&authenticator, token(&new, "unknown")).await;
    assert_eq!(reason(&outcome), "no published key fits");
    let outcome = offer(&authenticator, early).await;
    assert_eq!(reason(&outcome), "accepted");
}

#[tokio::test]
async fn tokens_of_two_users_are_never_taken_for_each_other() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[published(&key, "a")]).await;
    let authenticator = server.authenticator();
    let tokens: Vec<_> = (0..300)
        .map(|n| {
            let user = format!("user-{n}");
            (
                key.token(json!({ "kid": "a" }), json!({ "sub": user })),
                user,
            )
        })
        .collect();
    for _ in 0..3 {
        for (token, user) in &tokens {
            let identity = offer(&authenticator, token.as_str()).await;
            assert_eq!(identity.expect("a good token").external_id, *user);
        }
    }
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_those_that_fit() {
    let (one, other, stranger) = (TestKey::p256_a(), TestKey::p256_b(), TestKey::ed25519_b());
    let server = JwksServer::start(&[
        published(&TestKey::rsa_a(), "rsa"),
        one.published("one", json!({ "kid": null })),
        published(&other, "other"),
        published(&TestKey::ed25519_a(), "ed"),
    ])
    .await;
    let authenticator = server.authenticator();

    for key in [&one, &other] {
        let outcome = offer(&authenticator, key.token(json!({}), json!({}))).await;
        assert_eq!(reason(&outcome), "accepted");
    }
    let outcome = offer(&authenticator, stranger.token(json!({}), json!({}))).await;
    assert_eq!(reason(&outcome), "the signature is wrong");
    // A token that names a key is not tried with one that has no name.
    let outcome = offer(&authenticator, token(&one, "one")).await;
    assert_eq!(reason(&outcome), "no published key fits");
}

#[tokio::test]
async fn the_fetching_ends_with_the_process_and_with_its_last_reader() {
    let server = JwksServer::start(&[]).await;
    server.close_gate();

    let stopped = Lifecycle::new();
    let authenticator =
        Authenticator::new(&server.settings(), &stopped).expect("a usable configuration");
    server.reached(1).await;
    let waiting = offer(&authenticator, token(&TestKey::ed25519_a(), "a"));
    let (outcome, ()) = tokio::join!(waiting, async { stopped.begin_hard_stop() });
    assert_eq!(reason(&outcome), "unavailable");
    stopped.finished().await;

    let abandoned = Lifecycle::new();
    let authenticator =
        Authenticator::new(&server.settings(), &abandoned).expect("a usable configuration");
    server.reached(2).await;
    drop(authenticator);
    abandoned.finished().await;
}
