//! Tokens that must not pass, each beside its twin that must: what the check keeps out is what
//! the case is about, not a slip in the test.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthError, Authenticator, Credential},
    lifecycle::Lifecycle,
};
use proptest::prelude::{ProptestConfig, any, prop_oneof, proptest};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    issuer::{
        AUDIENCE, ISSUER, SECRET, TestKey, good_claims, hs256, now, offer, reason, secret_settings,
    },
    jwks_server::JwksServer,
};

mod keys;

struct Case {
    name: String,
    hostile: String,
    twin: String,
}

fn case(name: impl Into<String>, hostile: String, twin: String) -> Case {
    Case {
        name: name.into(),
        hostile,
        twin,
    }
}

/// Both signed with the secret; only these claims differ.
fn claims(name: &str, hostile: Value, twin: Value) -> Case {
    let key = hs256();
    case(
        format!("claims: {name}"),
        key.token(json!({}), hostile),
        key.token(json!({}), twin),
    )
}

/// Both signed with the secret; only these header members differ.
fn header(name: &str, hostile: Value, twin: Value) -> Case {
    let key = hs256();
    case(
        format!("header: {name}"),
        key.token(hostile, json!({})),
        key.token(twin, json!({})),
    )
}

/// The twin's parts, changed.
fn parts(name: &str, change: impl Fn(&str, &str, &str) -> String) -> Case {
    let twin = hs256().token(json!({}), json!({}));
    let mut parts = twin.split('.');
    let mut next = || parts.next().expect("three parts");
    let hostile = change(next(), next(), next());
    case(format!("shape: {name}"), hostile, twin)
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn shapes() -> Vec<Case> {
    let mut cases = vec![
        parts("empty", |_, _, _| String::new()),
        parts("dots alone", |_, _, _| "..".to_owned()),
        parts("one part", |header, _, _| header.to_owned()),
        parts("two parts", |header, payload, _| {
            format!("{header}.{payload}")
        }),
        parts("four parts", |header, payload, signature| {
            format!("{header}.{payload}.{signature}.{signature}")
        }),
        parts("five parts, like an encrypted token", |h, p, s| {
            format!("{h}.{p}.{s}.{s}.{s}")
        }),
        parts("no signature", |header, payload, _| {
            format!("{header}.{payload}.")
        }),
        parts("no payload", |header, _, signature| {
            format!("{header}..{signature}")
        }),
        parts("no header", |_, payload, signature| {
            format!(".{payload}.{signature}")
        }),
        parts("a short signature", |h, p, s| {
            format!("{h}.{p}.{}", &s[..s.len() - 4])
        }),
        parts("a long signature", |h, p, s| format!("{h}.{p}.{s}AAAA")),
        parts("padding", |h, p, s| format!("{h}.{p}.{s}=")),
        parts("the other base64 alphabet", |h, p, _| {
            format!("{h}.{p}.+/+/")
        }),
        parts("a space in front", |h, p, s| format!(" {h}.{p}.{s}")),
        parts("a newline at the end", |h, p, s| format!("{h}.{p}.{s}\n")),
        parts("U+0000 at the end", |h, p, s| format!("{h}.{p}.{s}\0")),
        parts("the scheme twice", |h, p, s| format!("Bearer {h}.{p}.{s}")),
        parts("another payload", |h, _, s| {
            let mut claims = good_claims();
            claims["sub"] = json!("user-2");
            format!("{h}.{}.{s}", encoded(&claims))
        }),
        parts("another header", |_, p, s| {
            format!(
                "{}.{p}.{s}",
                encoded(&json!({ "alg": "HS256", "typ": "jwt" }))
            )
        }),
        parts("a payload that is a list", |_, _, _| {
            hs256().sign(r#"{"alg":"HS256"}"#, "[]")
        }),
        parts("a payload that is no JSON", |_, _, _| {
            hs256().sign(r#"{"alg":"HS256"}"#, "exp=9999999999")
        }),
        parts("a header that is a string", |_, _, _| {
            hs256().sign(r#""HS256""#, &good_claims().to_string())
        }),
        parts("a header nested beyond reason", |_, _, _| {
            let header = format!(
                r#"{{"alg":"HS256","a":{}1{}}}"#,
                "[".repeat(900),
                "]".repeat(900)
            );
            hs256().sign(&header, &good_claims().to_string())
        }),
        parts("exp given twice", |_, _, _| {
            let payload = format!(
                r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"u","exp":1,"exp":{}}}"#,
                now() + 600
            );
            hs256().sign(r#"{"alg":"HS256"}"#, &payload)
        }),
        parts("alg given twice", |_, _, _| {
            hs256().sign(
                r#"{"alg":"none","alg":"HS256"}"#,
                &good_claims().to_string(),
            )
        }),
    ];
    let padded =
        |characters| hs256().token(json!({}), json!({ "padding": "x".repeat(characters) }));
    cases.push(case("shape: over 8 KiB", padded(6_200), padded(5_800)));
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = vec![
        header("no alg", json!({ "alg": null }), json!({})),
        header("alg is a number", json!({ "alg": 256 }), json!({})),
        header("alg is a list", json!({ "alg": ["HS256"] }), json!({})),
        header("alg in small letters", json!({ "alg": "hs256" }), json!({})),
        header("crit", json!({ "crit": ["exp"] }), json!({ "exp": 1 })),
        header("empty crit", json!({ "crit": [] }), json!({})),
        header("crit is no list", json!({ "crit": "b64" }), json!({})),
        header(
            "unencoded payload",
            json!({ "b64": false, "crit": ["b64"] }),
            json!({ "b64": true }),
        ),
        header("encrypted", json!({ "enc": "A256GCM" }), json!({})),
        header("compressed", json!({ "zip": "DEF" }), json!({})),
        header(
            "kid is a number",
            json!({ "kid": 1 }),
            json!({ "kid": "1" }),
        ),
        header(
            "x5c is a number",
            json!({ "x5c": 1 }),
            json!({ "x5c": ["MII"] }),
        ),
    ];
    // A header without any of the members that nobody needs is as good as one with all of them.
    for typ in [json!(null), json!("at+jwt"), json!("JOSE")] {
        cases.push(header(
            "typ does not excuse none",
            json!({ "alg": "none", "typ": typ }),
            json!({ "typ": typ }),
        ));
    }
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!(
            "{}.{}.",
            encoded(&json!({ "alg": none, "typ": "JWT" })),
            encoded(&good_claims())
        );
        cases.push(case(
            format!("header: unsigned, alg {none:?}"),
            unsigned,
            hs256().token(json!({}), json!({})),
        ));
    }
    cases
}

fn times() -> Vec<Case> {
    let seconds = now();
    vec![
        claims("no exp", json!({ "exp": null }), json!({})),
        claims(
            "exp before the leeway",
            json!({ "exp": seconds - 90 }),
            json!({ "exp": seconds - 30 }),
        ),
        claims("exp of 1970", json!({ "exp": 0 }), json!({})),
        claims("exp below zero", json!({ "exp": -1 }), json!({})),
        claims(
            "exp is a string",
            json!({ "exp": (seconds + 600).to_string() }),
            json!({ "exp": seconds + 600 }),
        ),
        claims("exp is a list", json!({ "exp": [seconds] }), json!({})),
        claims(
            "exp in milliseconds",
            json!({ "exp": (seconds + 600) * 1000 }),
            json!({ "exp": seconds as f64 + 600.5 }),
        ),
        claims(
            "exp without end",
            json!({ "exp": 1e300 }),
            json!({ "exp": 9_999_999_999_u64 }),
        ),
        claims(
            "exp at the edge of u64",
            json!({ "exp": u64::MAX }),
            json!({}),
        ),
        claims(
            "nbf after the leeway",
            json!({ "nbf": seconds + 300 }),
            json!({ "nbf": seconds + 30 }),
        ),
        claims(
            "nbf is a string",
            json!({ "nbf": "0" }),
            json!({ "nbf": 0 }),
        ),
        claims(
            "iat after the leeway",
            json!({ "iat": seconds + 300 }),
            json!({ "iat": seconds + 30 }),
        ),
        claims(
            "iat is a string",
            json!({ "iat": "now" }),
            json!({ "iat": null }),
        ),
    ]
}

fn issuers_and_audiences() -> Vec<Case> {
    vec![
        claims("no iss", json!({ "iss": null }), json!({})),
        claims(
            "another iss",
            json!({ "iss": "https://evil.test" }),
            json!({}),
        ),
        claims(
            "iss with a slash",
            json!({ "iss": format!("{ISSUER}/") }),
            json!({}),
        ),
        claims(
            "iss in a list",
            json!({ "iss": [ISSUER, "https://evil.test"] }),
            json!({}),
        ),
        claims("iss is a number", json!({ "iss": 1 }), json!({})),
        claims("no aud", json!({ "aud": null }), json!({})),
        claims(
            "another aud",
            json!({ "aud": "other" }),
            json!({ "aud": AUDIENCE }),
        ),
        claims(
            "aud lists others",
            json!({ "aud": ["other", "another"] }),
            json!({ "aud": ["other", AUDIENCE] }),
        ),
        claims(
            "aud lists nobody",
            json!({ "aud": [] }),
            json!({ "aud": [AUDIENCE] }),
        ),
        claims(
            "aud is an object",
            json!({ "aud": { AUDIENCE: 1 } }),
            json!({}),
        ),
    ]
}

fn users() -> Vec<Case> {
    let long = "ü".repeat(256);
    let fits = "ü".repeat(255);
    vec![
        claims(
            "no sub, as in an anon key",
            json!({ "sub": null, "role": "anon" }),
            json!({}),
        ),
        claims(
            "no sub, as in a service key",
            json!({ "sub": null, "role": "service_role" }),
            json!({ "role": "service_role" }),
        ),
        claims("an empty sub", json!({ "sub": "" }), json!({ "sub": "0" })),
        claims(
            "a blank sub",
            json!({ "sub": " \t\u{3000}" }),
            json!({ "sub": " a " }),
        ),
        claims(
            "U+0000 in sub",
            json!({ "sub": "a\0b" }),
            json!({ "sub": "a'\"\\;b" }),
        ),
        claims(
            "a sub too long",
            json!({ "sub": long }),
            json!({ "sub": fits }),
        ),
        claims(
            "sub is a fraction",
            json!({ "sub": 1.5 }),
            json!({ "sub": 15 }),
        ),
        claims(
            "sub is no integer any more",
            json!({ "sub": 1e30 }),
            json!({ "sub": u64::MAX }),
        ),
        claims(
            "sub is true",
            json!({ "sub": true }),
            json!({ "sub": "true" }),
        ),
        claims("sub is a list", json!({ "sub": ["user-1"] }), json!({})),
        claims(
            "sub is an object",
            json!({ "sub": { "id": "user-1" } }),
            json!({}),
        ),
        claims(
            "Django's refresh token",
            json!({ "token_type": "refresh" }),
            json!({ "token_type": "access" }),
        ),
        claims(
            "Flask's refresh token",
            json!({ "type": "refresh" }),
            json!({ "type": "access" }),
        ),
        claims(
            "Keycloak's refresh token",
            json!({ "typ": "Refresh" }),
            json!({ "typ": "Bearer" }),
        ),
        claims(
            "Keycloak's offline token",
            json!({ "typ": "Offline" }),
            json!({ "typ": "Bearer" }),
        ),
        claims(
            "a refresh token by its use",
            json!({ "token_use": "refresh" }),
            json!({ "token_use": "access" }),
        ),
    ]
}

#[tokio::test]
async fn every_hostile_token_is_refused_and_its_twin_is_accepted() {
    let server = JwksServer::start(&[
        TestKey::rsa_a().published("rsa", json!({})),
        TestKey::p256_a().published("ec", json!({})),
        TestKey::ed25519_a().published("ed", json!({})),
        json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0" }),
    ])
    .await;
    let authenticator = Authenticator::new(&server.settings_with_secret(), &Lifecycle::new())
        .expect("a usable configuration");

    let cases: Vec<_> = [
        shapes(),
        headers(),
        times(),
        issuers_and_audiences(),
        users(),
        keys::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());

    let mut wrong = Vec::new();
    for Case {
        name,
        hostile,
        twin,
    } in cases
    {
        // Of each key that is not known, one server is asked for the first time.
        let strict = Authenticator::new(&server.settings_with_secret(), &Lifecycle::new())
            .expect("a usable configuration");
        let outcome = offer(&strict, hostile).await;
        match &outcome {
            Err(error @ AuthError::Refused(_)) => {
                assert_eq!(error.to_string(), "the credential was not accepted");
            }
            _ => wrong.push(format!("{name}: {}", reason(&outcome))),
        }
        let outcome = offer(&authenticator, twin).await;
        if outcome.is_err() {
            wrong.push(format!("{name}: the twin: {}", reason(&outcome)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_shared_secret_signs_with_the_hashes_that_are_configured() {
    let mut settings = secret_settings();
    let all = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    for accepted in all {
        settings.issuers[0].algorithms = vec![accepted];
        let authenticator =
            Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");
        for offered in all {
            let token = TestKey::secret(SECRET.as_bytes(), offered).token(json!({}), json!({}));
            let outcome = offer(&authenticator, token).await;
            assert_eq!(outcome.is_ok(), offered == accepted, "{offered:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_string_panics_or_passes(
        token in prop_oneof![
            any::<String>(),
            "[A-Za-z0-9_.=-]{0,200}",
            "eyJhbGciOiJIUzI1NiJ9\\.[A-Za-z0-9_-]{0,100}\\.[A-Za-z0-9_-]{43}",
        ],
        name in any::<String>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let authenticator = Authenticator::new(&secret_settings(), &Lifecycle::new())
                .expect("a usable configuration");
            assert!(offer(&authenticator, token).await.is_err());
            assert!(authenticator.authenticate(&Credential::DevelopmentUser(name)).await.is_err());
        });
    }

    #[test]
    fn no_signed_payload_panics(payload in any::<String>(), sub in any::<String>(), exp in any::<f64>(), nbf in any::<i64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let authenticator = Authenticator::new(&secret_settings(), &Lifecycle::new())
                .expect("a usable configuration");
            let raw = hs256().sign(r#"{"alg":"HS256"}"#, &payload);
            assert!(offer(&authenticator, raw).await.is_err());
            let odd = json!({ "sub": &sub, "exp": exp, "nbf": nbf, "name": &sub, "email": &sub, "role": &sub });
            if let Ok(identity) = offer(&authenticator, hs256().token(json!({}), odd)).await {
                assert_eq!(identity.external_id, sub);
            }
        });
    }
}

#[test]
fn a_secret_never_shows_in_the_debug_text_of_what_holds_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let authenticator =
        Authenticator::new(&secret_settings(), &Lifecycle::new()).expect("a usable configuration");
    let credential = Credential::Bearer(SecretString::from("the-token"));
    let text = format!("{authenticator:?} {credential:?}");
    assert!(
        !text.contains(SECRET) && !text.contains("the-token"),
        "{text}"
    );
}
