//! Tokens signed with a key that must not count, beside those of one that does.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::issuer::{SECRET, TestKey, hs256},
    Case, case,
};

/// The server trusts a secret, and of the key set `rsa`, `ec` and `ed`, each for one algorithm.
pub fn cases() -> Vec<Case> {
    let (rsa, ec, ed) = (TestKey::rsa_a(), TestKey::p256_a(), TestKey::ed25519_a());
    let by_kid = |key: &TestKey, kid: &str| key.token(json!({ "kid": kid }), json!({}));
    let (rsa_twin, ec_twin, ed_twin) = (by_kid(&rsa, "rsa"), by_kid(&ec, "ec"), by_kid(&ed, "ed"));
    let rsa_twin = || rsa_twin.clone();

    let published = rsa.published("rsa", json!({}));
    let modulus = URL_SAFE_NO_PAD
        .decode(published["n"].as_str().expect("a modulus"))
        .expect("base64");
    let confused = |name: &str, secret: &[u8]| {
        let key = TestKey::secret(secret, Algorithm::HS256);
        case(
            format!("keys: HS256 with {name} as its secret"),
            by_kid(&key, "rsa"),
            rsa_twin(),
        )
    };
    let own = TestKey::rsa_b();
    let embedded = |member: &str, value: Value| {
        let header = json!({ "kid": "rsa", member: value });
        case(
            format!("keys: the attacker's own in {member}"),
            own.token(header.clone(), json!({})),
            rsa.token(header, json!({})),
        )
    };
    vec![
        confused("the public modulus", &modulus),
        confused("the published key", published.to_string().as_bytes()),
        confused(
            "the modulus as written",
            published["n"].as_str().expect("a modulus").as_bytes(),
        ),
        confused("nothing", b""),
        confused(
            "another secret",
            b"another-secret-of-more-than-32-bytes-in-all",
        ),
        embedded(
            "jwk",
            own.published("rsa", json!({ "use": null, "kid": null })),
        ),
        embedded("jku", json!("https://evil.test/jwks.json")),
        embedded("x5u", json!("https://evil.test/chain.pem")),
        embedded("x5c", json!(["MIIB"])),
        case("keys: another RSA key", by_kid(&own, "rsa"), rsa_twin()),
        case(
            "keys: another EC key",
            by_kid(&TestKey::p256_b(), "ec"),
            ec_twin.clone(),
        ),
        case(
            "keys: another Ed25519 key",
            by_kid(&TestKey::ed25519_b(), "ed"),
            ed_twin.clone(),
        ),
        case(
            "keys: RSA under the EC key's name",
            by_kid(&rsa, "ec"),
            rsa_twin(),
        ),
        case(
            "keys: EC under the RSA key's name",
            by_kid(&ec, "rsa"),
            ec_twin.clone(),
        ),
        case(
            "keys: a name that is not published",
            by_kid(&rsa, "gone"),
            rsa_twin(),
        ),
        case(
            "keys: a path for a name",
            by_kid(&rsa, "../../dev/null"),
            rsa_twin(),
        ),
        case(
            "keys: an empty name",
            by_kid(&rsa, ""),
            rsa.token(json!({}), json!({})),
        ),
        case(
            "keys: PSS where the key is for PKCS1",
            by_kid(&TestKey::rsa_a().signing(Algorithm::PS256), "rsa"),
            rsa_twin(),
        ),
        case(
            "keys: SHA-512 where the key is for SHA-256",
            by_kid(&TestKey::rsa_a().signing(Algorithm::RS512), "rsa"),
            rsa_twin(),
        ),
        case(
            "keys: HS512 where HS256 is configured",
            by_kid(&TestKey::secret(SECRET.as_bytes(), Algorithm::HS512), "rsa"),
            hs256().token(json!({}), json!({})),
        ),
        case(
            "keys: an EC signature of zeros",
            {
                let (message, _) = ec_twin.rsplit_once('.').expect("three parts");
                format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))
            },
            ec_twin.clone(),
        ),
        case(
            "keys: an Ed25519 signature of zeros",
            {
                let (message, _) = ed_twin.rsplit_once('.').expect("three parts");
                format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))
            },
            ed_twin.clone(),
        ),
    ]
}
