//! Tokens from somebody else, or for somebody else.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::issuer::{AUDIENCE, ISSUER, TestKey, hs256},
    Case, claims,
};

/// The other issuer that is configured.
pub const OTHER: &str = "https://other.test";
pub const OTHER_AUDIENCE: &str = "other-tests";
pub const OTHER_SECRET: &str = "the-secret-of-the-other-issuer-of-more-than-32-bytes";

pub fn cases() -> Vec<Case> {
    let mut cases = strangers();
    cases.extend(mixed_up());
    cases
}

fn strangers() -> Vec<Case> {
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
        claims("iss with a slash alone", json!({ "iss": "/" }), json!({})),
        claims(
            "iss in capitals",
            json!({ "iss": ISSUER.to_uppercase() }),
            json!({}),
        ),
        claims(
            "iss by http",
            json!({ "iss": "http://issuer.test" }),
            json!({}),
        ),
        claims(
            "iss without its scheme",
            json!({ "iss": "issuer.test" }),
            json!({}),
        ),
        claims(
            "iss with a path",
            json!({ "iss": format!("{ISSUER}/auth") }),
            json!({}),
        ),
        claims(
            "iss with a user",
            json!({ "iss": "https://issuer.test@evil.test" }),
            json!({}),
        ),
        claims(
            "iss as a prefix",
            json!({ "iss": format!("{ISSUER}.evil.test") }),
            json!({}),
        ),
        claims(
            "iss with a space",
            json!({ "iss": format!("{ISSUER} ") }),
            json!({}),
        ),
        claims(
            "iss with U+0000",
            json!({ "iss": format!("{ISSUER}\0") }),
            json!({}),
        ),
        claims("iss is empty", json!({ "iss": "" }), json!({})),
        claims("iss alone in a list", json!({ "iss": [ISSUER] }), json!({})),
        claims(
            "iss is an object",
            json!({ "iss": { "url": ISSUER } }),
            json!({}),
        ),
        claims("iss is true", json!({ "iss": true }), json!({})),
        claims(
            "iss of the server's own development",
            json!({ "iss": "loquat-development" }),
            json!({}),
        ),
        claims("aud is empty", json!({ "aud": "" }), json!({})),
        claims(
            "aud in capitals",
            json!({ "aud": AUDIENCE.to_uppercase() }),
            json!({}),
        ),
        claims(
            "aud as a prefix",
            json!({ "aud": format!("{AUDIENCE}-2") }),
            json!({}),
        ),
        claims(
            "aud with a space",
            json!({ "aud": format!(" {AUDIENCE}") }),
            json!({}),
        ),
        claims("aud is a number", json!({ "aud": 1 }), json!({})),
        claims("aud is true", json!({ "aud": true }), json!({})),
        claims("aud is any", json!({ "aud": "*" }), json!({})),
        claims(
            "aud in a list in a list",
            json!({ "aud": [[AUDIENCE]] }),
            json!({}),
        ),
        claims(
            "aud beside a number",
            json!({ "aud": [AUDIENCE, 1] }),
            json!({ "aud": [AUDIENCE, "1"] }),
        ),
        claims(
            "aud in one string of two",
            json!({ "aud": format!("other {AUDIENCE}") }),
            json!({ "aud": ["other", AUDIENCE] }),
        ),
    ]
}

/// What one of two issuers says in the name of the other.
fn mixed_up() -> Vec<Case> {
    let other = TestKey::secret(OTHER_SECRET.as_bytes(), Algorithm::HS256);
    let of_other = json!({ "iss": OTHER, "aud": OTHER_AUDIENCE });
    let case = |name: &str, hostile: (&TestKey, Value), twin: (&TestKey, Value)| {
        let token = |(key, claims): (&TestKey, Value)| {
            let header = match key.algorithm {
                Algorithm::RS256 => json!({ "kid": "rsa" }),
                _ => json!({}),
            };
            key.token(header, claims)
        };
        Case::tokens(format!("issuers: {name}"), token(hostile), token(twin))
    };
    let (one, rsa) = (hs256(), TestKey::rsa_a());
    vec![
        case(
            "the one's name, the other's secret",
            (&other, json!({})),
            (&one, json!({})),
        ),
        case(
            "the other's name, the one's secret",
            (&one, of_other.clone()),
            (&other, of_other.clone()),
        ),
        case(
            "the other's name, a key of the one's set",
            (&rsa, of_other.clone()),
            (&rsa, json!({})),
        ),
        case(
            "the other's token for the one's audience",
            (&other, json!({ "iss": OTHER, "aud": AUDIENCE })),
            (
                &other,
                json!({ "iss": OTHER, "aud": [AUDIENCE, OTHER_AUDIENCE] }),
            ),
        ),
        case(
            "the one's token for the other's audience",
            (&one, json!({ "aud": OTHER_AUDIENCE })),
            (&one, json!({})),
        ),
        case(
            "both names in a list, the other's secret",
            (
                &other,
                json!({ "iss": [OTHER, ISSUER], "aud": [AUDIENCE, OTHER_AUDIENCE] }),
            ),
            (
                &other,
                json!({ "iss": OTHER, "aud": [AUDIENCE, OTHER_AUDIENCE] }),
            ),
        ),
        case(
            "the name that only the configuration knows",
            (&other, json!({ "iss": "other" })),
            (&other, of_other.clone()),
        ),
        case(
            "no name, the other's secret",
            (&other, json!({ "iss": null })),
            (&other, of_other),
        ),
    ]
}
