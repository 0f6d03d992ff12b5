//! Signatures that are broken, bent or borrowed, on tokens whose key is right.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use loquat::{auth::Authenticator, lifecycle::Lifecycle};
use serde_json::json;

use super::{
    super::{
        issuer::{SECRET, TestKey, hs256, offer, reason},
        jwks_server::JwksServer,
    },
    Case,
};

/// The order of the group of P-256.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// That of Ed25519, in its own order of bytes: the least first.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

pub fn cases() -> Vec<Case> {
    let mut cases = on_any_curve();
    cases.extend(ecdsa());
    cases.extend(ed25519());
    cases.extend(rsa());
    cases.extend(hmac());
    cases
}

/// A good token of this key, and its signature changed.
fn changed(name: &str, key: &TestKey, kid: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Case {
    let twin = key.token(json!({ "kid": kid }), json!({}));
    let (message, signature) = split(&twin);
    let hostile = format!("{message}.{}", URL_SAFE_NO_PAD.encode(change(signature)));
    assert_ne!(hostile, twin, "{name}");
    Case::tokens(
        format!("signature: {:?}, {name}", key.algorithm),
        hostile,
        twin,
    )
}

fn split(token: &str) -> (&str, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    (message, signature)
}

fn on_any_curve() -> Vec<Case> {
    let keys = [
        (TestKey::rsa_a(), "rsa"),
        (TestKey::p256_a(), "ec"),
        (TestKey::ed25519_a(), "ed"),
        (hs256(), "oct"),
    ];
    let mut cases = Vec::new();
    for (key, kid) in &keys {
        let borrowed = key.token(json!({ "kid": kid }), json!({ "sub": "user-2" }));
        let of_payload = key.token(json!({ "kid": kid }), json!({}));
        let (of_payload, _) = split(&of_payload);
        let of_payload = key.signature(of_payload.split_once('.').expect("two parts").1);
        let of_payload = URL_SAFE_NO_PAD.decode(of_payload).expect("base64");
        let case =
            |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| changed(name, key, kid, change);
        cases.extend([
            case("stripped", &|_| Vec::new()),
            case("one byte", &|signature| signature[..1].to_vec()),
            case("half", &|signature| {
                signature[..signature.len() / 2].to_vec()
            }),
            case("a byte short", &|signature| {
                signature[..signature.len() - 1].to_vec()
            }),
            case("a byte long", &|signature| [signature, vec![0]].concat()),
            case("a zero in front", &|signature| {
                [vec![0], signature].concat()
            }),
            case("twice", &|signature| {
                [signature.clone(), signature].concat()
            }),
            case("all zeros", &|signature| vec![0; signature.len()]),
            case("all ones", &|signature| vec![0xff; signature.len()]),
            case("the first bit turned", &|mut signature| {
                signature[0] ^= 0x80;
                signature
            }),
            case("the last bit turned", &|mut signature| {
                *signature.last_mut().expect("a byte") ^= 1;
                signature
            }),
            case("backwards", &|mut signature| {
                signature.reverse();
                signature
            }),
            case("of another token", &|_| split(&borrowed).1),
            case("of the payload alone", &|_| of_payload.clone()),
        ]);
    }
    cases
}

/// The two halves of the signature of a curve, changed.
fn halves(name: &str, key: &TestKey, kid: &str, change: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Case {
    changed(name, key, kid, |signature| {
        let (r, s) = signature.split_at(32);
        change(r, s)
    })
}

fn ec(name: &str, change: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Case {
    halves(name, &TestKey::p256_a(), "ec", change)
}

fn ed(name: &str, change: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Case {
    halves(name, &TestKey::ed25519_a(), "ed", change)
}

fn ecdsa() -> Vec<Case> {
    let order = hex::decode(P256_ORDER).expect("hexadecimal");
    vec![
        ec("in DER", der),
        ec("r is zero", |_, s| [&[0; 32], s].concat()),
        ec("s is zero", |r, _| [r, &[0; 32]].concat()),
        ec("zeros in DER", |_, _| vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ec("ones in DER", |_, _| vec![0x30, 6, 2, 1, 1, 2, 1, 1]),
        ec("r and s are one", |_, _| {
            let mut one = [0; 32];
            one[31] = 1;
            [one, one].concat()
        }),
        ec("r is the order", |_, s| [&order, s].concat()),
        ec("s is the order", |r, _| [r, order.as_slice()].concat()),
        ec("both are the order", |_, _| {
            [order.as_slice(), &order].concat()
        }),
        ec("r and s swapped", |r, s| [s, r].concat()),
        ec("s for both", |_, s| [s, s].concat()),
        ec("r taken from the order", |r, s| {
            [minus(&order, r).as_slice(), s].concat()
        }),
    ]
}

fn ed25519() -> Vec<Case> {
    let order = hex::decode(ED25519_ORDER).expect("hexadecimal");
    vec![
        ed("s and the order", |r, s| {
            [r, plus(s, &order).as_slice()].concat()
        }),
        ed("s is zero", |r, _| [r, &[0; 32]].concat()),
        ed("r is zero", |_, s| [&[0; 32], s].concat()),
        ed("r is the neutral point, s zero", |_, _| {
            let mut neutral = vec![0; 64];
            neutral[0] = 1;
            neutral
        }),
        ed("the sign of r turned", |r, s| {
            let mut r = r.to_vec();
            r[31] ^= 0x80;
            [&r, s].concat()
        }),
    ]
}

fn rsa() -> Vec<Case> {
    let key = TestKey::rsa_a();
    let pss = TestKey::rsa_a().signing(Algorithm::PS256);
    let sha512 = TestKey::rsa_a().signing(Algorithm::RS512);
    let resigned = |name: &str, other: &TestKey| {
        let twin = key.token(json!({ "kid": "rsa" }), json!({}));
        let (message, _) = split(&twin);
        let hostile = format!("{message}.{}", other.signature(message));
        Case::tokens(format!("signature: RS256, {name}"), hostile, twin)
    };
    vec![
        resigned("PSS under the name of PKCS1", &pss),
        resigned("of SHA-512", &sha512),
        resigned("of another key", &TestKey::rsa_b()),
        changed("the modulus", &key, "rsa", |_| {
            let published = TestKey::rsa_a().published("rsa", json!({}));
            let modulus = published["n"].as_str().expect("a modulus");
            URL_SAFE_NO_PAD.decode(modulus).expect("base64")
        }),
        changed("one", &key, "rsa", |signature| {
            let mut one = vec![0; signature.len()];
            *one.last_mut().expect("a byte") = 1;
            one
        }),
        changed(
            "the digest as PKCS1 pads it, for an exponent of one",
            &key,
            "rsa",
            |signature| {
                let mut padded = vec![0xff; signature.len()];
                (padded[0], padded[1], padded[signature.len() - 33]) = (0, 1, 0);
                padded
            },
        ),
    ]
}

fn hmac() -> Vec<Case> {
    let longer = TestKey::secret(SECRET.as_bytes(), Algorithm::HS512);
    let twin = hs256().token(json!({}), json!({}));
    let (message, signature) = split(&twin);
    let cut = URL_SAFE_NO_PAD
        .decode(longer.signature(message))
        .expect("base64");
    [
        ("of SHA-512", longer.signature(message)),
        (
            "of SHA-512, cut to 32 bytes",
            URL_SAFE_NO_PAD.encode(&cut[..32]),
        ),
        ("in hexadecimal", hex::encode(&signature)),
        (
            "in hexadecimal, in base64",
            URL_SAFE_NO_PAD.encode(hex::encode(&signature)),
        ),
        ("the secret itself", URL_SAFE_NO_PAD.encode(SECRET)),
    ]
    .into_iter()
    .map(|(name, signature)| {
        Case::tokens(
            format!("signature: HS256, {name}"),
            format!("{message}.{signature}"),
            twin.clone(),
        )
    })
    .collect()
}

/// As OpenSSL and Java write one; a JWT holds the two numbers side by side (RFC 7518, 3.4).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut number = number[zeros..].to_vec();
        if number.first().is_none_or(|first| *first >= 0x80) {
            number.insert(0, 0);
        }
        [
            &[2, u8::try_from(number.len()).expect("short")],
            number.as_slice(),
        ]
        .concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    [
        &[0x30, u8::try_from(numbers.len()).expect("short")],
        numbers.as_slice(),
    ]
    .concat()
}

/// The greatest byte first.
fn minus(from: &[u8], number: &[u8]) -> Vec<u8> {
    let mut borrowed = 0;
    let mut difference: Vec<_> = std::iter::zip(from, number)
        .rev()
        .map(|(from, byte)| {
            let byte = i16::from(*from) - i16::from(*byte) - borrowed;
            borrowed = i16::from(byte < 0);
            byte.to_le_bytes()[0]
        })
        .collect();
    difference.reverse();
    difference
}

/// The least byte first.
fn plus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carried = 0;
    std::iter::zip(one, other)
        .map(|(one, other)| {
            let sum = u16::from(*one) + u16::from(*other) + carried;
            carried = sum >> 8;
            sum.to_le_bytes()[0]
        })
        .collect()
}

/// ECDSA knows two signatures for one message, and issuers make either: OpenSSL and browsers do
/// not prefer one. So nothing may take a token's text for its identity.
#[tokio::test]
async fn both_signatures_that_ecdsa_knows_are_good_and_name_the_same_user() {
    let key = TestKey::p256_a();
    let server = JwksServer::start(&[key.published("ec", json!({}))]).await;
    let authenticator =
        Authenticator::new(&server.settings(), &Lifecycle::new()).expect("a usable configuration");
    let order = hex::decode(P256_ORDER).expect("hexadecimal");

    let token = key.token(json!({ "kid": "ec" }), json!({}));
    let (message, signature) = split(&token);
    let (r, s) = signature.split_at(32);
    let twin = [r, minus(&order, s).as_slice()].concat();
    let twin = format!("{message}.{}", URL_SAFE_NO_PAD.encode(twin));

    let outcomes = [
        offer(&authenticator, token.as_str()).await,
        offer(&authenticator, twin.as_str()).await,
    ];
    for outcome in &outcomes {
        assert_eq!(reason(outcome), "accepted");
    }
    assert_eq!(outcomes[0], outcomes[1]);
}
