//! Whose tokens are believed, by presets, by `JWT_` settings and by `[[issuers]]` tables.

use jsonwebtoken::Algorithm;
use loquat::config::{
    ClaimRule, ClaimValue, Settings, Sources,
    names::{self, issuer::KEYS},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{GATEWAY_SECRET, SECRET, settings};

fn written(claim: &str, value: &str) -> ClaimRule {
    ClaimRule {
        claim: claim.to_owned(),
        value: ClaimValue::Written(value.to_owned()),
    }
}

#[test]
fn supabase_is_its_issuer_its_audience_and_whichever_keys_are_named() {
    use Algorithm::{ES256, HS256, RS256};

    let both = settings(&[
        ("SUPABASE_PROJECT_URL", "https://abc.supabase.co/"),
        ("SUPABASE_JWT_SECRET", SECRET),
    ])
    .issuers
    .remove(0);
    assert_eq!(both.name, "supabase");
    assert_eq!(
        both.issuer.as_deref(),
        Some("https://abc.supabase.co/auth/v1")
    );
    assert_eq!(both.audience.as_deref(), Some("authenticated"));
    assert_eq!(both.user_claim, "sub");
    assert_eq!(
        both.jwks_url.expect("a key set").as_str(),
        "https://abc.supabase.co/auth/v1/.well-known/jwks.json"
    );
    assert_eq!(both.algorithms, [HS256, ES256, RS256]);

    let keys = settings(&[("SUPABASE_PROJECT_URL", "https://abc.supabase.co")])
        .issuers
        .remove(0);
    assert_eq!(keys.algorithms, [ES256, RS256]);

    let secret = settings(&[
        ("SUPABASE_JWT_SECRET", SECRET),
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ALGORITHM", "HS256"),
    ])
    .issuers
    .remove(0);
    assert_eq!(secret.issuer, None);
    assert_eq!(secret.algorithms, [HS256]);
    assert_eq!(secret.secret.expect("a secret").expose_secret(), SECRET);
}

#[test]
fn better_auth_is_its_url_its_key_set_and_ed25519() {
    let issuer = settings(&[("BETTER_AUTH_URL", "https://app.example.com/")])
        .issuers
        .remove(0);

    assert_eq!(issuer.name, "better-auth");
    assert_eq!(issuer.issuer.as_deref(), Some("https://app.example.com"));
    assert_eq!(issuer.audience, issuer.issuer);
    assert_eq!(
        issuer.jwks_url.expect("a key set").as_str(),
        "https://app.example.com/api/auth/jwks"
    );
    assert_eq!(issuer.algorithms, [Algorithm::EdDSA]);
    assert!(issuer.secret.is_none());
}

#[test]
fn a_django_secret_needs_nothing_but_the_name_of_its_user_claim() {
    let issuer = settings(&[("JWT_SECRET_KEY", SECRET), ("JWT_USER_CLAIM", "user_id")])
        .issuers
        .remove(0);

    assert_eq!(issuer.name, "jwt");
    assert_eq!(issuer.issuer, None);
    assert_eq!(issuer.audience, None);
    assert_eq!(issuer.user_claim, "user_id");
    assert_eq!(issuer.algorithms, [Algorithm::HS256]);
}

#[test]
fn the_single_issuer_reads_its_claims_as_its_settings_say() {
    let issuer = settings(&[
        ("BETTER_AUTH_URL", "https://app.example.com"),
        ("JWT_EMAIL_CLAIM", "https://app.example.com/email"),
        ("JWT_NAME_CLAIM", "profile.name"),
        ("JWT_ADMIN_CLAIM", "role"),
        ("JWT_ADMIN_VALUE", "admin"),
        ("JWT_REQUIRED_CLAIMS", "org = acme, email_verified=true"),
        ("JWT_ALGORITHM", "EdDSA,ES256"),
    ])
    .issuers
    .remove(0);
    assert_eq!(
        issuer.email_claim.as_deref(),
        Some("https://app.example.com/email")
    );
    assert_eq!(issuer.name_claim.as_deref(), Some("profile.name"));
    assert_eq!(issuer.admin, Some(written("role", "admin")));
    assert_eq!(
        issuer.required_claims,
        [written("org", "acme"), written("email_verified", "true")]
    );
    assert_eq!(issuer.algorithms, [Algorithm::EdDSA, Algorithm::ES256]);

    let flag = settings(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_PREVIOUS_SECRET_KEY", "the-secret-before-it"),
        ("JWT_ADMIN_CLAIM", "admin"),
        ("JWT_ALGORITHM", "HS512, HS384"),
    ])
    .issuers
    .remove(0);
    assert_eq!(
        flag.admin,
        Some(ClaimRule {
            claim: "admin".to_owned(),
            value: ClaimValue::True
        })
    );
    assert_eq!(flag.algorithms, [Algorithm::HS512, Algorithm::HS384]);
    assert_eq!(
        flag.previous_secret
            .as_ref()
            .map(SecretString::expose_secret),
        Some("the-secret-before-it")
    );
}

#[test]
fn both_presets_are_two_issuers() {
    let issuers = settings(&[
        ("SUPABASE_PROJECT_URL", "https://abc.supabase.co"),
        ("SUPABASE_JWT_SECRET", SECRET),
        ("SUPABASE_PREVIOUS_JWT_SECRET", "the-secret-before-it"),
        ("BETTER_AUTH_URL", "https://app.example.com"),
    ])
    .issuers;
    let names: Vec<_> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["supabase", "better-auth"]);
    assert!(issuers[0].previous_secret.is_some());
}

#[test]
fn a_table_says_everything_that_can_be_said_of_an_issuer() {
    let sources = Sources::default()
        .file(
            "loquat.toml",
            r#"
            better_auth_url = "https://app.example.com"

            [[issuers]]
            name = "auth0"
            issuer = "https://example.eu.auth0.com/"
            audience = "https://chat.example.com"
            jwks_url = "https://example.eu.auth0.com/.well-known/jwks.json"
            secret_variable = "AUTH0_SECRET"
            previous_secret_variable = "AUTH0_PREVIOUS_SECRET"
            algorithms = ["RS256", "PS512", "HS384"]
            user_claim = "https://chat.example.com/id"
            email_claim = "mail"
            name_claim = "nickname"
            admin_claim = "https://chat.example.com/roles"
            admin_value = "chat-admin"
            required_claims = { "https://chat.example.com/org" = "acme", level = 3, verified = true }

            [[issuers]]
            name = "old app"
            preset = "supabase"
            url = "https://old.supabase.co"
            secret = "the-old-app-s-secret-of-more-than-32-bytes"
            admin_claim = "app_metadata.admin"
            "#,
        )
        .and_then(|sources| sources.dotenv(".env", "AUTH0_SECRET=from-dotenv\nAUTH0_PREVIOUS_SECRET=before"))
        .expect("read")
        .variable("AUTH0_SECRET", "from-the-environment");
    let issuers = Settings::resolve(&sources).expect("right").issuers;

    let names: Vec<_> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["better-auth", "auth0", "old app"]);
    let auth0 = &issuers[1];
    assert_eq!(
        auth0.issuer.as_deref(),
        Some("https://example.eu.auth0.com/")
    );
    assert_eq!(auth0.audience.as_deref(), Some("https://chat.example.com"));
    assert_eq!(
        auth0.algorithms,
        [Algorithm::RS256, Algorithm::PS512, Algorithm::HS384]
    );
    let secrets =
        [&auth0.secret, &auth0.previous_secret].map(|secret| secret.as_ref().expect("a secret"));
    assert_eq!(
        secrets.map(SecretString::expose_secret),
        ["from-the-environment", "before"]
    );
    assert_eq!(auth0.user_claim, "https://chat.example.com/id");
    assert_eq!(auth0.email_claim.as_deref(), Some("mail"));
    assert_eq!(auth0.name_claim.as_deref(), Some("nickname"));
    let exactly = |claim: &str, value| ClaimRule {
        claim: claim.to_owned(),
        value: ClaimValue::Exactly(value),
    };
    assert_eq!(
        auth0.admin,
        Some(exactly(
            "https://chat.example.com/roles",
            json!("chat-admin")
        ))
    );
    for rule in [
        exactly("https://chat.example.com/org", json!("acme")),
        exactly("level", json!(3)),
        exactly("verified", json!(true)),
    ] {
        assert!(auth0.required_claims.contains(&rule), "{rule:?}");
    }
    let old = &issuers[2];
    assert_eq!(
        old.issuer.as_deref(),
        Some("https://old.supabase.co/auth/v1")
    );
    assert_eq!(
        old.algorithms,
        [Algorithm::HS256, Algorithm::ES256, Algorithm::RS256]
    );
    assert_eq!(
        old.admin.as_ref().map(|rule| &rule.value),
        Some(&ClaimValue::True)
    );
}

#[test]
fn production_starts_with_a_table_or_a_gateway_alone() {
    let sources = Sources::default()
        .file(
            "loquat.toml",
            "environment = 'production'\n[[issuers]]\nname = 'app'\npreset = 'better-auth'\nurl = 'https://app.example.com'",
        )
        .expect("read");
    assert_eq!(
        Settings::resolve(&sources).expect("right").issuers[0].name,
        "app"
    );

    let gateway = settings(&[
        ("ENVIRONMENT", "production"),
        ("LOQUAT_GATEWAY_SECRET", GATEWAY_SECRET),
    ]);
    assert!(gateway.issuers.is_empty() && !gateway.has_development_sign_in());
    let secret = gateway.gateway_secret.expect("a secret");
    assert_eq!(secret.expose_secret(), GATEWAY_SECRET);
}

/// The example's tables, uncommented.
fn example() -> String {
    let example = include_str!("../../../loquat.example.toml");
    let (_, tables) = example.split_once("# [[issuers]]").expect("a table");
    let lines = tables
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            let key = line.split_once(" = ").map(|(key, _)| key);
            *line == "[[issuers]]" || key.is_some_and(|key| !key.contains(' '))
        });
    let tables: Vec<_> = lines.collect();
    format!("[[issuers]]\n{}", tables.join("\n"))
}

#[test]
fn the_example_file_shows_every_key_of_a_table_and_right_tables() {
    let tables = example();
    let shown: Vec<_> = tables
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    for key in KEYS {
        assert!(shown.contains(&key.key), "{}", key.key);
    }
    let sources = Sources::default()
        .file("loquat.example.toml", &tables)
        .expect("read")
        .variable("AUTH0_SECRET", "one")
        .variable("AUTH0_PREVIOUS_SECRET", "two")
        .flag(&names::SUPABASE_PROJECT_URL, "https://abc.supabase.co");
    let issuers = Settings::resolve(&sources).expect("right").issuers;
    assert!(issuers.len() > 2);
}

#[test]
fn nothing_that_holds_issuers_prints_a_secret() {
    let sources = Sources::default()
        .file(
            "loquat.toml",
            "environment = 'production'\n[[issuers]]\nname = 'a'\nsecret = 'hunter2-of-more-than-thirty-two-bytes'\nprevious_secret = 'hunter2-of-more-than-thirty-two-bytes-too'",
        )
        .expect("read")
        .variable("LOQUAT_GATEWAY_SECRET", "hunter2-of-more-than-thirty-two-bytes");
    let settings = Settings::resolve(&sources).expect("right");
    assert!(!format!("{settings:?}").contains("hunter2"));
}
