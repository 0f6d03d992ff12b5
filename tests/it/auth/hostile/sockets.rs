//! Payloads of `connection_init` that carry a credential as none may be carried.

use serde_json::{Value, json};

use super::{super::issuer::hs256, Case, Offer};

pub fn cases() -> Vec<Case> {
    let token = || hs256().token(json!({}), json!({}));
    let bearer = || format!("Bearer {}", token());
    let case = |name: &str, hostile: Value, twin: Value| Case {
        name: format!("socket: {name}"),
        hostile: Offer::Payload(hostile),
        twin: Offer::Payload(twin),
        names_new_key: false,
    };
    let good = || json!({ "token": token() });
    vec![
        case("token is a number", json!({ "token": 1 }), good()),
        case("token is true", json!({ "token": true }), good()),
        case("token is a list", json!({ "token": [token()] }), good()),
        case(
            "token is an object",
            json!({ "token": { "token": token() } }),
            good(),
        ),
        case("token is empty", json!({ "token": "" }), good()),
        case(
            "token is blank",
            json!({ "token": " \t" }),
            json!({ "token": format!(" {} ", token()) }),
        ),
        case(
            "token is null in a string",
            json!({ "token": "null" }),
            good(),
        ),
        case(
            "token with a line break",
            json!({ "token": token().replace('.', ".\n") }),
            good(),
        ),
        case(
            "token with U+0000",
            json!({ "token": format!("{}\0", token()) }),
            good(),
        ),
        case(
            "token with a letter beyond ASCII",
            json!({ "token": format!("{}\u{e9}", token()) }),
            good(),
        ),
        case(
            "token with a comma",
            json!({ "token": format!("{},{}", token(), token()) }),
            good(),
        ),
        case(
            "token with another scheme",
            json!({ "token": format!("Basic {}", token()) }),
            json!({ "token": bearer() }),
        ),
        case(
            "token of a megabyte",
            json!({ "token": "a".repeat(900_000) }),
            good(),
        ),
        case(
            "a scheme without a token",
            json!({ "authorization": "Bearer " }),
            json!({ "authorization": bearer() }),
        ),
        case(
            "Authorization is a list",
            json!({ "Authorization": [bearer()] }),
            json!({ "Authorization": bearer() }),
        ),
        case(
            "AUTHORIZATION is an object",
            json!({ "AUTHORIZATION": {} }),
            json!({ "AUTHORIZATION": bearer() }),
        ),
        case(
            "the scheme twice",
            json!({ "authorization": format!("Bearer {}", bearer()) }),
            json!({ "authorization": bearer() }),
        ),
        case(
            "headers are a string",
            json!({ "headers": bearer() }),
            json!({ "headers": { "authorization": bearer() } }),
        ),
        case(
            "headers are a list",
            json!({ "headers": [["authorization", bearer()]] }),
            json!({ "headers": { "Authorization": bearer() } }),
        ),
        case(
            "headers are true",
            json!({ "headers": true, "token": token() }),
            json!({ "headers": null, "token": token() }),
        ),
        case(
            "a list in the headers",
            json!({ "headers": { "authorization": [bearer()] } }),
            json!({ "headers": { "token": token() } }),
        ),
        case(
            "two tokens",
            json!({ "token": token(), "authorization": bearer() }),
            good(),
        ),
        case(
            "two spellings, two tokens",
            json!({ "authorization": bearer(), "Authorization": bearer() }),
            good(),
        ),
        case(
            "two tokens, one in the headers",
            json!({ "token": token(), "headers": { "token": token() } }),
            good(),
        ),
        case(
            "a token and a name",
            json!({ "token": token(), "X-User-Id": "user-1" }),
            good(),
        ),
        case("a name alone", json!({ "X-User-Id": "user-1" }), good()),
        case("a name that is a number", json!({ "X-User-Id": 1 }), good()),
        case(
            "an unknown API key",
            json!({ "token": "loq_0123456789abcdef" }),
            good(),
        ),
        case(
            "a gateway's secret in the payload",
            json!({ "X-Gateway-Secret": super::requests::GATEWAY_SECRET, "X-User-Id": "ada" }),
            good(),
        ),
        case(
            "no signature",
            json!({ "token": unsigned(&token()) }),
            good(),
        ),
        case(
            "no signature, with the scheme",
            json!({ "authorization": format!("Bearer {}", unsigned(&token())) }),
            good(),
        ),
    ]
}

fn unsigned(token: &str) -> String {
    let (message, _) = token.rsplit_once('.').expect("three parts");
    format!("{message}.")
}
