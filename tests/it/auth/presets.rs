//! Tokens as Supabase, Better Auth, Django and Flask really mint them, and what is read of them.

use std::time::{Duration, SystemTime};

use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthSetupError, Authenticator, Identity, Issued, PolicyClaims},
    config::{Environment, Settings},
    lifecycle::Lifecycle,
};
use serde_json::{Value, json};

use super::{
    issuer::{
        AUDIENCE, ISSUER, SECRET, TestKey, hs256, minted, now, offer, reason, secret_settings,
        settings,
    },
    jwks_server::JwksServer,
};

fn authenticator(settings: &Settings) -> Authenticator {
    Authenticator::new(settings, &Lifecycle::new()).expect("a usable configuration")
}

async fn accepted(settings: &Settings, token: String) -> Identity {
    let outcome = offer(&authenticator(settings), token).await;
    assert_eq!(reason(&outcome), "accepted");
    outcome.expect("accepted")
}

/// Signed with the secret, of nothing but these claims.
fn bare(claims: Value) -> String {
    hs256().sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// A project with the shared secret, whose key set no test may go and ask for.
fn supabase() -> Settings {
    let mut settings = settings(&[
        ("SUPABASE_PROJECT_URL", "https://abc.supabase.co"),
        ("SUPABASE_JWT_SECRET", SECRET),
    ]);
    settings.issuers[0].jwks_url = None;
    settings
}

#[tokio::test]
async fn a_supabase_token_becomes_an_identity() {
    let settings = supabase();
    let subject = "0e9f8a5e-6c0f-4b4e-9d4f-3f2a3f1f7c11";
    let expires = now() + 3600;
    let issued = now();
    let token = bare(json!({
        "iss": "https://abc.supabase.co/auth/v1", "aud": "authenticated", "sub": subject,
        "exp": expires, "iat": issued, "email": "ada@example.org", "phone": "",
        "app_metadata": { "provider": "email" },
        "user_metadata": { "full_name": "Ada Lovelace", "name": "ada" },
        "role": "authenticated", "aal": "aal1", "session_id": "s", "is_anonymous": false,
    }));

    assert_eq!(
        accepted(&settings, token).await,
        Identity {
            issuer: "supabase".to_owned(),
            external_id: subject.to_owned(),
            email: Some("ada@example.org".to_owned()),
            display_name: Some("Ada Lovelace".to_owned()),
            claims: PolicyClaims {
                sub: subject.to_owned(),
                role: Some("authenticated".to_owned()),
                iss: Some("https://abc.supabase.co/auth/v1".to_owned()),
            },
            is_admin: false,
            issued: Issued::At(SystemTime::UNIX_EPOCH + Duration::from_secs(issued.unsigned_abs())),
            expires_at: Some(
                SystemTime::UNIX_EPOCH
                    + Duration::from_secs(expires.unsigned_abs())
                    + Duration::from_secs(60)
            ),
        }
    );

    for role in ["anon", "service_role"] {
        let key = bare(json!({
            "iss": "supabase", "ref": "abc", "role": role, "iat": now(), "exp": now() + 3600,
        }));
        let outcome = offer(&authenticator(&settings), key).await;
        assert_ne!(reason(&outcome), "accepted", "{role}");
        let key = bare(json!({
            "iss": "https://abc.supabase.co/auth/v1", "aud": "authenticated", "role": role,
            "exp": now() + 3600,
        }));
        let outcome = offer(&authenticator(&settings), key).await;
        assert_eq!(
            reason(&outcome),
            "the user claim is missing or unusable",
            "{role}"
        );
    }
}

#[tokio::test]
async fn a_better_auth_token_becomes_an_identity() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[key.published("k1", json!({ "use": null }))]).await;
    let base = server.url.trim_end_matches("/jwks.json");
    let settings = settings(&[("BETTER_AUTH_URL", base)]);
    let claims = json!({
        "iss": base, "aud": base, "sub": "Wq3cJ1mV7nY0pR5tX8zA2bC4dE6fG9hK",
        "iat": now(), "exp": now() + 900, "name": "Grace", "email": "grace@example.org",
        "emailVerified": true, "image": null,
    });
    let token = key.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, &claims.to_string());

    let identity = accepted(&settings, token).await;

    assert_eq!(identity.issuer, "better-auth");
    assert_eq!(identity.external_id, "Wq3cJ1mV7nY0pR5tX8zA2bC4dE6fG9hK");
    assert_eq!(identity.display_name.as_deref(), Some("Grace"));
    assert_eq!(identity.email.as_deref(), Some("grace@example.org"));
}

#[tokio::test]
async fn django_and_flask_tokens_become_identities() {
    let django = settings(&[("JWT_SECRET_KEY", SECRET), ("JWT_USER_CLAIM", "user_id")]);
    for user_id in [json!("42"), json!(42)] {
        let token = bare(json!({
            "token_type": "access", "exp": now() + 300, "iat": now(), "jti": "f0", "user_id": user_id,
        }));
        let identity = accepted(&django, token).await;
        assert_eq!(identity.issuer, "jwt");
        assert_eq!(identity.external_id, "42");
        assert_eq!(
            identity.claims,
            PolicyClaims {
                sub: "42".to_owned(),
                role: None,
                iss: None
            }
        );
    }
    let outcome = offer(
        &authenticator(&django),
        bare(json!({ "exp": now() + 300, "sub": "42" })),
    )
    .await;
    assert_eq!(reason(&outcome), "the user claim is missing or unusable");

    let flask = settings(&[("JWT_SECRET_KEY", SECRET)]);
    for subject in [json!("7"), json!(7)] {
        let token = bare(json!({
            "fresh": false, "iat": now(), "jti": "f0", "type": "access", "sub": subject,
            "nbf": now(), "csrf": "x", "exp": now() + 900,
        }));
        assert_eq!(accepted(&flask, token).await.external_id, "7");
    }
}

/// What an issuer says that nobody asked about is neither believed nor held against the token.
#[tokio::test]
async fn an_audience_that_nobody_configured_is_not_looked_at() {
    let settings = settings(&[("JWT_SECRET_KEY", SECRET)]);
    let token = hs256().token(
        json!({}),
        json!({ "aud": ["somebody", "else"], "iss": "x" }),
    );
    assert_eq!(accepted(&settings, token).await.external_id, "user-1");
}

#[tokio::test]
async fn a_describing_claim_that_does_not_fit_is_dropped() {
    let long = "x".repeat(256);
    let cases = [
        (json!({ "name": " Ada " }), Some("Ada")),
        (
            json!({ "name": "", "user_metadata": { "name": "Ada" } }),
            Some("Ada"),
        ),
        (
            json!({ "name": 5, "preferred_username": "ada" }),
            Some("ada"),
        ),
        (json!({ "name": long, "username": "ada" }), Some("ada")),
        (json!({ "name": "A\u{0}da" }), None),
        (json!({ "name": "A\nda" }), None),
        (
            json!({ "name": ["Ada"], "user_metadata": "no object" }),
            None,
        ),
        (json!({}), None),
    ];
    for (claims, expected) in cases {
        let identity = accepted(&secret_settings(), hs256().token(json!({}), claims.clone())).await;
        assert_eq!(identity.display_name.as_deref(), expected, "{claims}");
    }

    for email in [
        json!(format!("{}@x", "x".repeat(319))),
        json!("a\u{0}@x"),
        json!(" "),
        json!(1),
    ] {
        let token = hs256().token(json!({}), json!({ "email": email }));
        assert_eq!(accepted(&secret_settings(), token).await.email, None);
    }
    let token = hs256().token(
        json!({}),
        json!({ "role": "a\u{0}", "email": format!("{}@x", "x".repeat(318)) }),
    );
    let identity = accepted(&secret_settings(), token).await;
    assert_eq!(identity.claims.role, None);
    assert_eq!(identity.email.map(|email| email.len()), Some(320));
}

#[tokio::test]
async fn the_policy_claims_are_words_and_nothing_else() {
    let hostile = r#"x'; DROP SCHEMA chat; -- "\"#;
    let token = hs256().token(
        json!({}),
        json!({ "sub": hostile, "role": hostile, "is_admin": true }),
    );
    let identity = accepted(&secret_settings(), token).await;
    assert_eq!(
        serde_json::to_value(&identity.claims).expect("JSON"),
        json!({ "sub": hostile, "role": hostile, "iss": ISSUER })
    );

    let token = hs256().token(json!({}), json!({ "role": { "name": "admin" } }));
    let identity = accepted(&secret_settings(), token).await;
    assert_eq!(
        serde_json::to_value(&identity.claims).expect("JSON"),
        json!({ "sub": "user-1", "iss": ISSUER })
    );
}

#[tokio::test]
async fn the_leeway_is_the_one_that_is_configured() {
    for (leeway, late_by_30_s, late_by_200_s) in [("0", false, false), ("300", true, true)] {
        let settings = settings(&[("JWT_SECRET_KEY", SECRET), ("JWT_LEEWAY_SECONDS", leeway)]);
        for (seconds, expected) in [(30, late_by_30_s), (200, late_by_200_s)] {
            let expired = hs256().token(json!({}), json!({ "exp": now() - seconds }));
            let early = hs256().token(json!({}), json!({ "nbf": now() + seconds }));
            for token in [expired, early] {
                let outcome = offer(&authenticator(&settings), token).await;
                assert_eq!(outcome.is_ok(), expected, "{leeway}: {seconds}");
            }
        }
    }
}

#[tokio::test]
async fn a_minted_token_is_accepted_by_the_configuration_that_minted_it() {
    let hour = Duration::from_secs(3600);
    for settings in [
        secret_settings(),
        settings(&[("JWT_SECRET_KEY", SECRET), ("JWT_USER_CLAIM", "user_id")]),
        settings(&[("SUPABASE_JWT_SECRET", SECRET)]),
        supabase(),
    ] {
        let token = minted(&settings, "ada", hour).expect("minted");
        assert_eq!(accepted(&settings, token).await.external_id, "ada");
    }
    let mut settings = secret_settings();
    settings.issuers[0].algorithms = vec![Algorithm::HS512];
    let token = minted(&settings, "ada", hour).expect("minted");
    assert_eq!(accepted(&settings, token).await.external_id, "ada");
}

#[test]
fn nothing_is_minted_where_nothing_may_be() {
    let hour = Duration::from_secs(3600);
    let line = |settings: &Settings, user: &str, ttl| {
        minted(settings, user, ttl)
            .expect_err("refused")
            .to_string()
    };
    let jwks = settings(&[("BETTER_AUTH_URL", "https://auth.example.org")]);
    assert!(line(&jwks, "ada", hour).contains("only the issuer better-auth can sign"));

    let mut production = secret_settings();
    production.environment = Environment::Production;
    assert!(line(&production, "ada", hour).contains("ENVIRONMENT=development"));

    let settings = secret_settings();
    for user in ["", " ", "a\0b", &"x".repeat(256)] {
        assert!(line(&settings, user, hour).contains("user"), "{user:?}");
    }
    for ttl in [Duration::ZERO, Duration::from_millis(900), Duration::MAX] {
        assert!(line(&settings, "ada", ttl).contains("last"), "{ttl:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_would_let_strangers_in_does_not_start() {
    let start =
        |settings: &Settings| Authenticator::new(settings, &Lifecycle::new()).expect_err("refused");

    let mut settings = secret_settings();
    settings.environment = Environment::Production;
    assert!(Authenticator::new(&settings, &Lifecycle::new()).is_ok());
    let issuers = std::mem::take(&mut settings.issuers);
    assert!(matches!(start(&settings), AuthSetupError::NoIssuer));

    settings.issuers = issuers;
    let issuer = &mut settings.issuers[0];
    issuer.jwks_url = Some("http://issuer.test/jwks".parse().expect("a URL"));
    assert!(matches!(
        start(&settings),
        AuthSetupError::InsecureJwks { .. }
    ));

    let mut settings = secret_settings();
    let issuer = &mut settings.issuers[0];
    issuer.secret = Some(String::new().into());
    assert!(matches!(
        start(&settings),
        AuthSetupError::EmptySecret { .. }
    ));

    let mut settings = secret_settings();
    let issuer = &mut settings.issuers[0];
    issuer.secret = Some("-----BEGIN PUBLIC KEY-----".to_owned().into());
    assert!(matches!(start(&settings), AuthSetupError::PemSecret { .. }));
    assert!(start(&settings).to_string().contains("JWT_JWKS_URL"));

    let mut settings = secret_settings();
    settings.issuers[0].secret = None;
    assert!(matches!(start(&settings), AuthSetupError::NoKey { .. }));
}

#[tokio::test]
async fn what_the_issuer_calls_its_audience_is_compared_whole() {
    let token = hs256().token(json!({}), json!({ "aud": format!("{AUDIENCE}-more") }));
    let outcome = offer(&authenticator(&secret_settings()), token).await;
    assert_eq!(reason(&outcome), "the audience is another");
}
