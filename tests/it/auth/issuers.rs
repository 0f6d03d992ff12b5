//! Several issuers at once: which of them judges a token, and what each believes of it.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthError, Authenticator, Credential, MintError, TokenRequest, Unverified, mint},
    config::{Settings, Sources},
    lifecycle::Lifecycle,
};
use serde_json::{Value, json};

use super::{
    issuer::{TestKey, now, offer, reason, secret_settings, settings},
    jwks_server::JwksServer,
};

const ONE: &str = "the-first-secret-of-more-than-thirty-two-bytes";
const TWO: &str = "the-second-secret-of-more-than-thirty-two-bytes";
const THREE: &str = "the-third-secret-of-more-than-thirty-two-bytes";

fn of_file(text: &str) -> Settings {
    let sources = Sources::default().file("loquat.toml", text).expect("read");
    Settings::resolve(&sources).expect("the settings are right")
}

fn authenticator(settings: &Settings) -> Authenticator {
    Authenticator::new(settings, &Lifecycle::new()).expect("a usable configuration")
}

/// Of these claims beside a user and an end, with nothing in the header but the algorithm.
fn token(secret: &str, claims: Value) -> String {
    let mut all = json!({ "sub": "ada", "exp": now() + 600 });
    let more = claims.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(more);
    TestKey::secret(secret.as_bytes(), Algorithm::HS256)
        .sign(r#"{"alg":"HS256"}"#, &all.to_string())
}

/// The issuer that accepts it, or why none does.
async fn judged(authenticator: &Authenticator, token: String) -> String {
    let outcome = offer(authenticator, token).await;
    match &outcome {
        Ok(identity) => identity.issuer.clone(),
        Err(_) => reason(&outcome).to_owned(),
    }
}

#[tokio::test]
async fn a_token_is_judged_by_the_issuer_that_it_names_and_by_no_other() {
    // The third would take what the first refuses: it has the same secret and asks for less.
    let authenticator = authenticator(&of_file(&format!(
        "[[issuers]]\nname = 'first'\nissuer = 'https://one.test'\naudience = 'chat'\nsecret = '{ONE}'\n\
         [[issuers]]\nname = 'second'\nissuer = 'https://two.test'\nsecret = '{TWO}'\n\
         [[issuers]]\nname = 'third'\nsecret = '{ONE}'\n\
         [[issuers]]\nname = 'fourth'\nsecret = '{THREE}'\n"
    )));
    let (one, two) = ("https://one.test", "https://two.test");
    for (secret, claims, expected) in [
        (ONE, json!({ "iss": one, "aud": "chat" }), "first"),
        (TWO, json!({ "iss": two }), "second"),
        (ONE, json!({}), "third"),
        (ONE, json!({ "iss": null }), "third"),
        (ONE, json!({ "iss": "https://elsewhere.test" }), "third"),
        (ONE, json!({ "iss": "https://one.test/" }), "third"),
        (THREE, json!({}), "fourth"),
        (ONE, json!({ "iss": one }), "a required claim is missing"),
        (
            ONE,
            json!({ "iss": one, "aud": "mail" }),
            "the audience is another",
        ),
        (ONE, json!({ "iss": two }), "the signature is wrong"),
        (
            THREE,
            json!({ "iss": one, "aud": "chat" }),
            "the signature is wrong",
        ),
        (TWO, json!({}), "the signature is wrong"),
        (
            ONE,
            json!({ "iss": [one], "aud": "chat" }),
            "the issuer is another",
        ),
        (ONE, json!({ "iss": [] }), "the issuer is another"),
        (ONE, json!({ "iss": 1 }), "the issuer is another"),
    ] {
        let token = token(secret, claims.clone());
        assert_eq!(judged(&authenticator, token).await, expected, "{claims}");
    }

    let outcome = offer(&authenticator, token(TWO, json!({}))).await;
    let Err(AuthError::Refused(reason)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(reason.judges(), ["third", "fourth"]);
    assert_eq!(
        format!("{reason:?}"),
        "the signature is wrong (judged by third, fourth)"
    );
}

#[tokio::test]
async fn where_every_issuer_has_a_name_a_token_of_another_is_not_tried_on_any() {
    let settings = settings(&[
        ("BETTER_AUTH_URL", "http://127.0.0.1:9"),
        ("SUPABASE_PROJECT_URL", "http://127.0.0.1:9"),
        ("SUPABASE_JWT_SECRET", ONE),
    ]);
    let authenticator = authenticator(&settings);
    let claims = json!({ "iss": "http://127.0.0.1:9/auth/v1", "aud": "authenticated" });
    assert_eq!(judged(&authenticator, token(ONE, claims)).await, "supabase");
    for iss in [json!("http://127.0.0.1:9"), json!("supabase"), json!(null)] {
        let token = token(ONE, json!({ "iss": iss, "aud": "authenticated" }));
        let outcome = offer(&authenticator, token).await;
        assert!(matches!(outcome, Err(AuthError::Refused(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn two_secrets_are_accepted_as_long_as_a_rotation_lasts() {
    let authenticator = authenticator(&settings(&[
        ("JWT_SECRET_KEY", TWO),
        ("JWT_PREVIOUS_SECRET_KEY", ONE),
    ]));
    assert_eq!(judged(&authenticator, token(TWO, json!({}))).await, "jwt");
    assert_eq!(judged(&authenticator, token(ONE, json!({}))).await, "jwt");
    assert_eq!(
        judged(&authenticator, token(THREE, json!({}))).await,
        "the signature is wrong"
    );
    // What the signature does not decide, the other secret does not mend.
    assert_eq!(
        judged(&authenticator, token(ONE, json!({ "exp": 1 }))).await,
        "the token has expired"
    );
}

#[tokio::test]
async fn each_issuer_has_keys_of_its_own_and_waits_for_no_other() {
    let (a, b) = (TestKey::p256_a(), TestKey::p256_b());
    let prompt = JwksServer::start(&[a.published("k", json!({}))]).await;
    let slow = JwksServer::start(&[b.published("k", json!({}))]).await;
    slow.close_gate();
    let authenticator = authenticator(&of_file(&format!(
        "[[issuers]]\nname = 'slow'\njwks_url = '{}'\n[[issuers]]\nname = 'prompt'\njwks_url = '{}'\n\
         [[issuers]]\nname = 'shared'\nsecret = '{ONE}'\n",
        slow.url, prompt.url
    )));
    let signed = |key: &TestKey| {
        let claims = json!({ "sub": "ada", "exp": now() + 600 });
        key.sign(r#"{"alg":"ES256","kid":"k"}"#, &claims.to_string())
    };

    assert_eq!(
        judged(&authenticator, token(ONE, json!({}))).await,
        "shared"
    );
    // The first time it may have to wait for its own keys, and so for nothing else but theirs.
    prompt.reached(1).await;
    slow.reached(1).await;
    let mut waiting = tokio::spawn({
        let authenticator = authenticator.clone();
        let token = signed(&b);
        async move { judged(&authenticator, token).await }
    });
    assert!(!waiting.is_finished());
    slow.open_gate();
    assert_eq!((&mut waiting).await.expect("judged"), "slow");
    assert_eq!(judged(&authenticator, signed(&a)).await, "prompt");

    // From now on the token of one sends for the keys of no other.
    for _ in 0..3 {
        assert_eq!(judged(&authenticator, signed(&b)).await, "slow");
        assert_eq!(judged(&authenticator, signed(&a)).await, "prompt");
        assert_eq!(
            judged(&authenticator, token(ONE, json!({}))).await,
            "shared"
        );
    }
    assert_eq!((prompt.requests(), slow.requests()), (1, 1));
}

#[tokio::test]
async fn a_token_that_only_missing_keys_could_save_is_unavailable_not_refused() {
    let up = JwksServer::start(&[TestKey::p256_a().published("a", json!({}))]).await;
    let down = JwksServer::start(&[]).await;
    down.answer(|| http::StatusCode::BAD_GATEWAY);
    let authenticator = authenticator(&of_file(&format!(
        "[[issuers]]\nname = 'down'\njwks_url = '{}'\n[[issuers]]\nname = 'up'\njwks_url = '{}'\n\
         [[issuers]]\nname = 'named'\nissuer = 'https://named.test'\nsecret = '{ONE}'",
        down.url, up.url
    )));
    let key = TestKey::p256_b();
    let signed = |claims: Value| {
        let mut all = json!({ "sub": "ada", "exp": now() + 600 });
        let more = claims.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(more);
        key.sign(r#"{"alg":"ES256","kid":"a"}"#, &all.to_string())
    };
    let outcome = offer(&authenticator, signed(json!({}))).await;
    assert!(
        matches!(outcome, Err(AuthError::Unavailable { .. })),
        "{outcome:?}"
    );
    // It could not be theirs.
    let named = signed(json!({ "iss": "https://named.test" }));
    assert_eq!(
        judged(&authenticator, named).await,
        "the algorithm is not accepted"
    );
}

#[tokio::test]
async fn claims_make_an_admin_and_keep_strangers_out() {
    let authenticator = authenticator(&of_file(&format!(
        "[[issuers]]\nname = 'auth0'\nissuer = 'https://one.test'\nsecret = '{ONE}'\n\
         user_claim = 'profile.id'\nemail_claim = 'https://app.test/email'\nname_claim = 'profile.name'\n\
         admin_claim = 'https://app.test/roles'\nadmin_value = 'chat-admin'\n\
         required_claims = {{ email_verified = true, 'org.id' = 7 }}\n\
         [[issuers]]\nname = 'flag'\nissuer = 'https://two.test'\nsecret = '{TWO}'\n\
         admin_claim = 'app_metadata.admin'\n"
    )));
    let good = json!({
        "iss": "https://one.test", "sub": "not the user", "profile": { "id": 42, "name": "Ada" },
        "name": "not the name", "email": "not@the.mail", "https://app.test/email": "ada@app.test",
        "https://app.test/roles": ["user", "chat-admin"], "email_verified": true, "org": { "id": 7 },
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let identity = offer(&authenticator, token(ONE, good.clone()))
        .await
        .expect("accepted");
    assert_eq!(identity.external_id, "42");
    assert_eq!(identity.display_name.as_deref(), Some("Ada"));
    assert_eq!(identity.email.as_deref(), Some("ada@app.test"));
    assert!(identity.is_admin);
    for roles in [
        json!("user"),
        json!(["user"]),
        json!(true),
        json!(null),
        json!({ "chat-admin": true }),
        json!("chat-admin user"),
    ] {
        let claims = with("https://app.test/roles", roles.clone());
        let identity = offer(&authenticator, token(ONE, claims)).await;
        assert!(!identity.expect("accepted").is_admin, "{roles}");
    }
    for (name, value) in [
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("email_verified", json!(null)),
        ("org", json!({ "id": "7" })),
        ("org", json!({ "id": 8 })),
        ("org", json!(7)),
    ] {
        assert_eq!(
            judged(&authenticator, token(ONE, with(name, value.clone()))).await,
            "a required claim has another value",
            "{name} {value}"
        );
    }
    assert_eq!(
        judged(&authenticator, token(ONE, with("profile", json!("42")))).await,
        "the user claim is missing or unusable"
    );

    // One issuer's admin claim makes no admin of another's users.
    for (metadata, expected) in [
        (json!({ "admin": true }), true),
        (json!({ "admin": "true" }), false),
        (json!({ "admin": [true] }), false),
        (json!(true), false),
    ] {
        let claims = json!({
            "iss": "https://two.test", "app_metadata": metadata, "user_metadata": { "admin": true },
            "https://app.test/roles": "chat-admin",
        });
        let identity = offer(&authenticator, token(TWO, claims)).await;
        assert_eq!(identity.expect("accepted").is_admin, expected, "{metadata}");
    }
}

#[tokio::test]
async fn settings_of_the_single_issuer_have_no_types_and_take_both() {
    let authenticator = authenticator(&settings(&[
        ("JWT_SECRET_KEY", ONE),
        ("JWT_ADMIN_CLAIM", "realm_access.roles"),
        ("JWT_ADMIN_VALUE", "admin"),
        ("JWT_REQUIRED_CLAIMS", "org=7,email_verified=true"),
    ]));
    for (org, verified) in [(json!(7), json!(true)), (json!("7"), json!("true"))] {
        let claims = json!({
            "org": org, "email_verified": verified, "realm_access": { "roles": ["admin"] },
        });
        let identity = offer(&authenticator, token(ONE, claims)).await;
        assert!(identity.expect("accepted").is_admin);
    }
    let claims = json!({ "org": 8, "email_verified": true });
    assert_eq!(
        judged(&authenticator, token(ONE, claims)).await,
        "a required claim has another value"
    );
}

#[tokio::test]
async fn whoever_holds_a_token_is_told_what_each_issuer_says_of_it() {
    let down = JwksServer::start(&[]).await;
    down.answer(|| http::StatusCode::BAD_GATEWAY);
    let authenticator = authenticator(&of_file(&format!(
        "[[issuers]]\nname = 'first'\nissuer = 'https://one.test'\naudience = 'chat'\nsecret = '{ONE}'\n\
         [[issuers]]\nname = 'second'\nsecret = '{TWO}'\n\
         [[issuers]]\nname = 'down'\njwks_url = '{}'\n",
        down.url
    )));
    let explain = async |token: &str| -> Vec<(String, String)> {
        let verdicts = authenticator.explain(token).await;
        verdicts
            .into_iter()
            .map(|(issuer, verdict)| {
                let verdict = match verdict {
                    Ok(identity) => format!("accepts {}", identity.external_id),
                    Err(reason) => reason.as_str().to_owned(),
                };
                (issuer, verdict)
            })
            .collect()
    };
    let of = |first: &str, second: &str, down: &str| {
        [("first", first), ("second", second), ("down", down)]
            .map(|(issuer, verdict)| (issuer.to_owned(), verdict.to_owned()))
    };

    let elsewhere = "the token says that another configured issuer made it";
    let good = token(ONE, json!({ "iss": "https://one.test", "aud": "chat" }));
    assert_eq!(
        explain(&good).await,
        of("accepts ada", elsewhere, elsewhere)
    );
    let other = token(ONE, json!({ "iss": "https://one.test", "aud": "mail" }));
    assert_eq!(
        explain(&other).await,
        of("the audience is another", elsewhere, elsewhere)
    );
    let unnamed = token(TWO, json!({}));
    assert_eq!(
        explain(&unnamed).await,
        of(
            "the issuer is another",
            "accepts ada",
            "the algorithm is not accepted"
        )
    );
    let published = TestKey::p256_a().token(json!({}), json!({ "iss": null }));
    assert_eq!(
        explain(&published).await,
        of(
            "the issuer is another",
            "the algorithm is not accepted",
            "the issuer's keys could not be fetched yet"
        )
    );
    let malformed = "the token is malformed";
    assert_eq!(explain("a.b").await, of(malformed, malformed, malformed));

    let view = Unverified::read(&good).expect("a JWT");
    assert_eq!(view.header["alg"], "HS256");
    assert_eq!(view.claims["iss"], "https://one.test");
    assert!(!format!("{view:?}").contains("one.test"));
    for text in ["", "a.b", "a.b.c", &format!("{good}.d"), &"a".repeat(9_000)] {
        assert_eq!(Unverified::read(text), None, "{text:.10}");
    }
}

#[tokio::test]
async fn a_minted_token_is_an_admins_if_it_was_asked_for_and_of_the_issuer_that_was_named() {
    let file = of_file(&format!(
        "[[issuers]]\nname = 'first'\nissuer = 'https://one.test'\nsecret = '{ONE}'\n\
         admin_claim = 'app.role'\nadmin_value = 'admin'\nrequired_claims = {{ 'app.role' = 'user', org = 7 }}\n\
         [[issuers]]\nname = 'second'\nsecret = '{TWO}'\n"
    ));
    let order = |settings: &Settings, is_admin, issuer| {
        let request = TokenRequest {
            user: "ada",
            is_admin,
            ttl: Duration::from_secs(60),
            issuer,
        };
        mint(settings, &request)
    };
    let judge = authenticator(&file);
    for is_admin in [false, true] {
        let token = order(&file, is_admin, Some("first")).expect("minted");
        let identity = offer(&judge, token).await.expect("accepted");
        assert_eq!(
            (identity.issuer.as_str(), identity.is_admin),
            ("first", is_admin)
        );
    }
    let token = order(&file, false, Some("second")).expect("minted");
    assert_eq!(judged(&judge, token).await, "second");

    let line = |is_admin, issuer| {
        order(&file, is_admin, issuer)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        line(false, None),
        "there are several issuers: choose one by --issuer, of first, second"
    );
    assert_eq!(
        line(false, Some("third")),
        "--issuer: there is no issuer of this name; there is first, second"
    );
    assert_eq!(
        line(true, Some("second")),
        "--admin: nobody is an admin by a token of the issuer second: set JWT_ADMIN_CLAIM, or \
         admin_claim in its table"
    );
    assert!(matches!(
        order(&secret_settings(), true, None),
        Err(MintError::NoAdminClaim { .. })
    ));

    let folder = tempfile::tempdir().expect("a folder");
    let mut development = settings(&[]);
    development.data_dir = folder.path().to_owned();
    let judge = authenticator(&development);
    for is_admin in [false, true] {
        let token = order(&development, is_admin, None).expect("minted");
        let identity = offer(&judge, token).await.expect("accepted");
        assert_eq!(identity.is_admin, is_admin);
    }
    let name = Credential::DevelopmentUser("ada".to_owned());
    let identity = judge.authenticate(&name).await.expect("accepted");
    assert!(!identity.is_admin, "a name alone makes no admin");
}
