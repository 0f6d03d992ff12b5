//! Headers of tokens that are otherwise signed and good.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    super::issuer::{good_claims, hs256},
    Case,
};

/// Both signed with the secret; only these header members differ.
fn header(name: &str, hostile: Value, twin: Value) -> Case {
    let key = hs256();
    Case::tokens(
        format!("header: {name}"),
        key.token(hostile, json!({})),
        key.token(twin, json!({})),
    )
}

/// Both signed with the secret; the headers are these texts.
fn written(name: &str, hostile: &str, twin: &str) -> Case {
    let sign = |header| hs256().sign(header, &good_claims().to_string());
    Case::tokens(format!("header: {name}"), sign(hostile), sign(twin))
}

pub fn cases() -> Vec<Case> {
    let good = r#"{"alg":"HS256"}"#;
    let deep = format!(
        r#"{{"alg":"HS256","a":{}1{}}}"#,
        "[".repeat(900),
        "]".repeat(900)
    );
    let mut cases = vec![
        header("no alg", json!({ "alg": null }), json!({})),
        header("alg is a number", json!({ "alg": 256 }), json!({})),
        header("alg is a list", json!({ "alg": ["HS256"] }), json!({})),
        header(
            "alg is an object",
            json!({ "alg": { "HS256": 1 } }),
            json!({}),
        ),
        header("alg in small letters", json!({ "alg": "hs256" }), json!({})),
        header("alg with a space", json!({ "alg": "HS256 " }), json!({})),
        header("alg with U+0000", json!({ "alg": "HS256\0" }), json!({})),
        header("alg with a hyphen", json!({ "alg": "HS-256" }), json!({})),
        header(
            "alg by its long name",
            json!({ "alg": "HmacSHA256" }),
            json!({}),
        ),
        header("alg of a broken hash", json!({ "alg": "HS1" }), json!({})),
        header("alg of a direct key", json!({ "alg": "dir" }), json!({})),
        header("another secret alg", json!({ "alg": "HS384" }), json!({})),
        header(
            "alg of RSA on a MAC",
            json!({ "alg": "RS256", "kid": "rsa" }),
            json!({}),
        ),
        header(
            "alg of EC on a MAC",
            json!({ "alg": "ES256", "kid": "ec" }),
            json!({}),
        ),
        header(
            "alg of Ed25519 on a MAC",
            json!({ "alg": "EdDSA", "kid": "ed" }),
            json!({}),
        ),
        header(
            "alg of another curve",
            json!({ "alg": "ES256K", "kid": "ec" }),
            json!({}),
        ),
        header("crit", json!({ "crit": ["exp"] }), json!({ "exp": 1 })),
        header(
            "crit of what nobody knows",
            json!({ "crit": ["x"], "x": 1 }),
            json!({ "x": 1 }),
        ),
        header("crit of alg", json!({ "crit": ["alg"] }), json!({})),
        header("empty crit", json!({ "crit": [] }), json!({})),
        header("crit is no list", json!({ "crit": "b64" }), json!({})),
        header(
            "unencoded payload",
            json!({ "b64": false, "crit": ["b64"] }),
            json!({ "b64": true }),
        ),
        header(
            "unencoded payload, not critical",
            json!({ "b64": false }),
            json!({ "b64": true }),
        ),
        header(
            "b64 is a string",
            json!({ "b64": "false" }),
            json!({ "b64": true }),
        ),
        header("encrypted", json!({ "enc": "A256GCM" }), json!({})),
        header(
            "encrypted by what nobody knows",
            json!({ "enc": "XX" }),
            json!({}),
        ),
        header("compressed", json!({ "zip": "DEF" }), json!({})),
        header(
            "kid is a number",
            json!({ "kid": 1 }),
            json!({ "kid": "1" }),
        ),
        header(
            "kid is a list",
            json!({ "kid": ["rsa"] }),
            json!({ "kid": "rsa" }),
        ),
        header(
            "kid is an object",
            json!({ "kid": { "$ne": 1 } }),
            json!({ "kid": "$ne" }),
        ),
        header(
            "kid is true",
            json!({ "kid": true }),
            json!({ "kid": "true" }),
        ),
        header("jwk is a string", json!({ "jwk": "x" }), json!({})),
        header(
            "x5c is a number",
            json!({ "x5c": 1 }),
            json!({ "x5c": ["MII"] }),
        ),
        header(
            "typ is a list",
            json!({ "typ": ["JWT"] }),
            json!({ "typ": "jwt" }),
        ),
        written("a string", r#""HS256""#, good),
        written("a list", "[]", good),
        written("null", "null", good),
        written("empty", "{}", good),
        written("no text at all", "", good),
        written(
            "nested beyond reason",
            &deep,
            r#"{"alg":"HS256","a":[[1]]}"#,
        ),
        written("alg given twice", r#"{"alg":"none","alg":"HS256"}"#, good),
        written(
            "alg given twice, the same",
            r#"{"alg":"HS256","alg":"HS256"}"#,
            good,
        ),
        written(
            "kid given twice",
            r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256","kid":"b"}"#,
        ),
        written(
            "alg spelt with escapes beside itself",
            r#"{"\u0061lg":"none","alg":"HS256"}"#,
            r#"{"\u0061lg":"HS256"}"#,
        ),
        written(
            "more after its end",
            r#"{"alg":"HS256"}{"alg":"none"}"#,
            good,
        ),
        written("a byte order mark", "\u{feff}{\"alg\":\"HS256\"}", good),
        written("a comment", r#"{"alg":"HS256"/**/}"#, good),
        written("a comma too many", r#"{"alg":"HS256",}"#, good),
        written("single quotes", "{'alg':'HS256'}", good),
    ];
    // A header without any of the members that nobody needs is as good as one with all of them.
    for typ in [json!(null), json!("at+jwt"), json!("JOSE")] {
        cases.push(header(
            &format!("none, and typ {typ}"),
            json!({ "alg": "none", "typ": typ }),
            json!({ "typ": typ }),
        ));
    }
    for none in ["none", "None", "NONE", "nOnE", "none ", "null", ""] {
        let encoded = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let header = encoded(json!({ "alg": none, "typ": "JWT" }));
        let unsigned = format!("{header}.{}.", encoded(good_claims()));
        let signed = hs256().token(json!({ "alg": none }), json!({}));
        for (what, hostile) in [("unsigned", unsigned), ("signed", signed)] {
            cases.push(Case::tokens(
                format!("header: {what}, alg {none:?}"),
                hostile,
                hs256().token(json!({}), json!({})),
            ));
        }
    }
    cases
}
