//! Requests whose headers or URL carry a credential as none may be carried; the tokens are good.

use serde_json::json;

use super::{
    super::{issuer::hs256, server::Headers},
    Case, Offer,
};

pub const GATEWAY_SECRET: &str = "a-secret-of-the-gateway-of-more-than-32-bytes";

pub fn cases() -> Vec<Case> {
    let mut cases = authorizations();
    cases.extend(several());
    cases.extend(gateways());
    cases.extend(urls());
    cases
}

fn token() -> String {
    hs256().token(json!({}), json!({}))
}

fn case(name: &str, hostile: (Headers, &str), twin: (Headers, &str)) -> Case {
    let request = |(headers, query): (Headers, &str)| Offer::Request(headers, query.to_owned());
    Case {
        name: format!("request: {name}"),
        hostile: request(hostile),
        twin: request(twin),
        names_new_key: false,
    }
}

/// One header, whose value is `hostile` or `twin`: `{}` stands for a good token.
fn authorization(name: &str, hostile: &[u8], twin: &str) -> Case {
    let value = |pattern: &[u8]| {
        let parts: Vec<_> = pattern
            .split(|byte| *byte == b'~')
            .map(<[u8]>::to_vec)
            .collect();
        parts.join(token().as_bytes())
    };
    case(
        name,
        (vec![("authorization", value(hostile))], ""),
        (vec![("authorization", value(twin.as_bytes()))], ""),
    )
}

fn authorizations() -> Vec<Case> {
    let good = "Bearer ~";
    vec![
        authorization("no scheme", b"~", good),
        authorization("Basic", b"Basic ~", "bearer ~"),
        authorization("Basic with a user", b"Basic cm9vdDpyb290", "BEARER ~"),
        authorization("Digest", b"Digest username=\"root\"", "bEaReR ~"),
        authorization("Negotiate", b"Negotiate ~", good),
        authorization("Token, as Django has it", b"Token ~", good),
        authorization("JWT, as Django had it", b"JWT ~", good),
        authorization("ApiKey", b"ApiKey ~", good),
        authorization("DPoP", b"DPoP ~", good),
        authorization("a scheme with more letters", b"Bearers ~", good),
        authorization("a scheme with a colon", b"Bearer: ~", good),
        authorization("a colon for the space", b"Bearer:~", good),
        authorization("an equals sign for the space", b"Bearer=~", good),
        authorization("a tab for the space", b"Bearer\t~", "Bearer   ~"),
        authorization("no space", b"Bearer~", good),
        authorization("the scheme alone", b"Bearer", good),
        authorization("the scheme and spaces", b"Bearer   ", "Bearer ~   "),
        authorization("the scheme twice", b"Bearer Bearer ~", good),
        authorization("empty", b"", good),
        authorization("quotation marks", b"Bearer \"~\"", good),
        authorization("a parameter", b"Bearer token=~", good),
        authorization("a word behind the token", b"Bearer ~ admin", good),
        authorization("two tokens, a comma", b"Bearer ~,~", good),
        authorization("two tokens, a comma and a space", b"Bearer ~, ~", good),
        authorization("two credentials, a comma", b"Bearer ~, Bearer ~", good),
        authorization(
            "two credentials, another first",
            b"Basic cm9vdDo=, Bearer ~",
            good,
        ),
        authorization("two tokens, a semicolon", b"Bearer ~;~", good),
        authorization("a letter beyond ASCII", "Bearer ~\u{fc}".as_bytes(), good),
        authorization("a space beyond ASCII", "Bearer\u{a0}~".as_bytes(), good),
        authorization("a byte that is no text", b"Bearer ~\xff", good),
        authorization("a tab behind the scheme's space", b"Bearer \t~", good),
        authorization("null", b"Bearer null", good),
        authorization("undefined", b"Bearer undefined", good),
        authorization("what String(object) gives", b"Bearer [object Object]", good),
        authorization("an unknown API key", b"Bearer loq_0123456789abcdef", good),
        authorization("an empty API key", b"Bearer loq_", good),
    ]
}

fn several() -> Vec<Case> {
    let bearer = || ("authorization", format!("Bearer {}", token()).into_bytes());
    let good = || (vec![bearer()], "");
    let user = |name: &str| ("x-user-id", name.as_bytes().to_vec());
    let twice = bearer();
    vec![
        case(
            "one Authorization twice",
            (vec![twice.clone(), twice], ""),
            good(),
        ),
        case(
            "two Authorization headers",
            (vec![bearer(), bearer()], ""),
            good(),
        ),
        case(
            "a good and an empty Authorization",
            (vec![bearer(), ("authorization", Vec::new())], ""),
            good(),
        ),
        case(
            "a bad and a good Authorization",
            (vec![("authorization", b"Bearer x".to_vec()), bearer()], ""),
            good(),
        ),
        case(
            "a token and a name",
            (vec![bearer(), user("user-1")], ""),
            good(),
        ),
        case(
            "a token and an empty name",
            (vec![bearer(), user("")], ""),
            good(),
        ),
        case("a name alone", (vec![user("user-1")], ""), good()),
        case(
            "a name twice",
            (vec![user("user-1"), user("user-1")], ""),
            good(),
        ),
    ]
}

fn gateways() -> Vec<Case> {
    let secret = |value: &str| ("x-gateway-secret", value.as_bytes().to_vec());
    let user = |name: &str| ("x-user-id", name.as_bytes().to_vec());
    let good = || (vec![secret(GATEWAY_SECRET), user("ada")], "");
    let bearer = ("authorization", format!("Bearer {}", token()).into_bytes());
    vec![
        case(
            "a gateway's wrong secret",
            (vec![secret("wrong"), user("ada")], ""),
            good(),
        ),
        case(
            "a gateway's empty secret",
            (vec![secret(""), user("ada")], ""),
            good(),
        ),
        case(
            "half a gateway's secret",
            (vec![secret(&GATEWAY_SECRET[..20]), user("ada")], ""),
            good(),
        ),
        case(
            "a gateway without a user",
            (vec![secret(GATEWAY_SECRET)], ""),
            good(),
        ),
        case(
            "a gateway's blank user",
            (vec![secret(GATEWAY_SECRET), user("  ")], ""),
            good(),
        ),
        case(
            "a gateway's user too long",
            (vec![secret(GATEWAY_SECRET), user(&"a".repeat(256))], ""),
            (vec![secret(GATEWAY_SECRET), user(&"a".repeat(255))], ""),
        ),
        case(
            "a gateway's two users",
            (vec![secret(GATEWAY_SECRET), user("ada"), user("bob")], ""),
            good(),
        ),
        case(
            "a gateway's secret twice",
            (
                vec![secret(GATEWAY_SECRET), secret(GATEWAY_SECRET), user("ada")],
                "",
            ),
            good(),
        ),
        case(
            "a gateway and a token",
            (vec![secret(GATEWAY_SECRET), bearer.clone()], ""),
            (vec![bearer.clone()], ""),
        ),
        case(
            "a gateway, its user and a token",
            (vec![secret(GATEWAY_SECRET), user("ada"), bearer], ""),
            good(),
        ),
        case(
            "a gateway's secret as a bearer",
            (
                vec![(
                    "authorization",
                    format!("Bearer {GATEWAY_SECRET}").into_bytes(),
                )],
                "",
            ),
            good(),
        ),
    ]
}

/// Logs and histories keep URLs, so no token may come to stand in one by habit.
fn urls() -> Vec<Case> {
    let bearer = || vec![("authorization", format!("Bearer {}", token()).into_bytes())];
    let mut cases = Vec::new();
    for name in [
        "access_token",
        "token",
        "authorization",
        "Authorization",
        "jwt",
        "id_token",
        "api_key",
        "access%5Ftoken",
        "X-User-Id",
    ] {
        let query = format!("?{name}={}", token());
        cases.push(case(
            &format!("{name} in the URL"),
            (Vec::new(), &query),
            (bearer(), "?harmless=1"),
        ));
        cases.push(case(
            &format!("{name} in the URL, a good token in the header"),
            (bearer(), &query),
            (bearer(), ""),
        ));
    }
    cases
}
