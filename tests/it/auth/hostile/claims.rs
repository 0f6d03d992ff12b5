//! Times that are over, not yet come, or no times; and payloads that are no claims.

use serde_json::json;

use super::{
    super::issuer::{good_claims, hs256, now},
    Case, claims, payloads, written,
};

pub fn cases() -> Vec<Case> {
    times().into_iter().chain(payload_texts()).collect()
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
        claims("exp is true", json!({ "exp": true }), json!({})),
        claims(
            "exp is an object",
            json!({ "exp": { "in": 600 } }),
            json!({}),
        ),
        claims("exp is an empty string", json!({ "exp": "" }), json!({})),
        claims(
            "exp long over, with a fraction",
            json!({ "exp": seconds as f64 - 90.5 }),
            json!({ "exp": seconds as f64 + 90.5 }),
        ),
        claims(
            "exp in microseconds",
            json!({ "exp": (seconds + 600) * 1_000_000 }),
            json!({}),
        ),
        claims("exp a moment below zero", json!({ "exp": -0.1 }), json!({})),
        claims(
            "nbf in milliseconds",
            json!({ "nbf": seconds * 1000 }),
            json!({ "nbf": seconds }),
        ),
        claims("nbf below zero", json!({ "nbf": -1 }), json!({ "nbf": 0 })),
        claims("nbf is an object", json!({ "nbf": {} }), json!({})),
        claims("nbf is true", json!({ "nbf": true }), json!({})),
        claims(
            "iat in milliseconds",
            json!({ "iat": seconds * 1000 }),
            json!({ "iat": seconds }),
        ),
        claims("iat below zero", json!({ "iat": -1 }), json!({ "iat": 0 })),
        claims("iat is a list", json!({ "iat": [seconds] }), json!({})),
    ]
}

/// What no JSON value can say, or says twice.
fn payload_texts() -> Vec<Case> {
    let seconds = now();
    let good = || good_claims().to_string();
    let without_exp = |exp: &str| {
        let mut claims = good_claims();
        claims.as_object_mut().expect("an object").remove("exp");
        format!("{{\"exp\":{exp},{}", &claims.to_string()[1..])
    };
    let valid = (seconds + 600).to_string();
    let mut cases = vec![
        payloads("exp is null", &without_exp("null"), &without_exp(&valid)),
        payloads("exp is NaN", &without_exp("NaN"), &without_exp(&valid)),
        payloads(
            "exp is Infinity",
            &without_exp("Infinity"),
            &without_exp(&valid),
        ),
        payloads("exp is 1e400", &without_exp("1e400"), &without_exp("1e10")),
        payloads(
            "exp is -1e400",
            &without_exp("-1e400"),
            &without_exp(&valid),
        ),
        payloads(
            "exp is hexadecimal",
            &without_exp(&format!("0x{:x}", seconds + 600)),
            &without_exp(&valid),
        ),
        payloads(
            "exp with a zero in front",
            &without_exp(&format!("0{valid}")),
            &without_exp(&valid),
        ),
        payloads("a list", "[]", &good()),
        payloads("a string", "\"user-1\"", &good()),
        payloads("a number", "1", &good()),
        payloads("null", "null", &good()),
        payloads("an empty object", "{}", &good()),
        payloads("no text at all", "", &good()),
        payloads("a query string", "exp=9999999999", &good()),
        payloads("XML", "<sub>user-1</sub>", &good()),
        payloads("more after its end", &format!("{0}{0}", good()), &good()),
        payloads(
            "a byte order mark",
            &format!("\u{feff}{}", good()),
            &format!(" {}", good()),
        ),
        payloads("cut off", &good()[..good().len() - 1], &good()),
        payloads(
            "nested beyond reason",
            &written(&format!("\"a\":{}1{},", "[".repeat(900), "]".repeat(900))),
            &written("\"a\":[[1]],"),
        ),
        payloads(
            "half of a surrogate pair",
            &written(r#""name":"\ud83d","#),
            &written(r#""name":"\ud83d\ude00","#),
        ),
    ];
    for (claim, first) in [
        ("exp", "1"),
        ("nbf", "0"),
        ("iss", "\"https://evil.test\""),
        ("aud", "\"other\""),
        ("sub", "\"root\""),
    ] {
        cases.push(payloads(
            &format!("{claim} given twice"),
            &written(&format!("\"{claim}\":{first},\"nbf\":0,")),
            &written("\"nbf\":0,"),
        ));
    }
    let bytes = |payload: &[u8]| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        format!("{message}.{}", hs256().signature(&message))
    };
    let utf16: Vec<_> = good().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1 = written("\"name\":\"é\",")
        .chars()
        .map(|letter| u8::try_from(letter).expect("a letter of Latin-1"))
        .collect::<Vec<_>>();
    for (name, payload) in [("UTF-16", utf16), ("Latin-1", latin1)] {
        cases.push(Case::tokens(
            format!("payload: in {name}"),
            bytes(&payload),
            bytes(written("\"name\":\"é\",").as_bytes()),
        ));
    }
    cases
}
