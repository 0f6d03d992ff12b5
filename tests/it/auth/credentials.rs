//! Headers and `connection_init` payloads of every shape.

use http::{HeaderMap, HeaderName, HeaderValue};
use loquat::auth::{
    Credential, CredentialError, credential_from_connection_init, credential_from_headers,
    credential_from_ping, no_credential_in_query,
};
use proptest::prelude::{ProptestConfig, any, proptest};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

type Headers<'a> = &'a [(&'a str, &'a [u8])];

fn headers(pairs: Headers) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().expect("a name"),
                HeaderValue::from_bytes(value).expect("a value"),
            )
        })
        .collect()
}

/// As text that can be compared.
fn outcome(result: Result<Option<Credential>, CredentialError>) -> String {
    match result {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Credential::Bearer(token))) => format!("token {}", token.expose_secret()),
        Ok(Some(Credential::ApiKey(key))) => format!("key {}", key.expose_secret()),
        Ok(Some(Credential::Gateway { secret, user })) => {
            format!("gateway {} user {user}", secret.expose_secret())
        }
        Ok(Some(Credential::DevelopmentUser(name))) => format!("user {name}"),
        Err(error) => format!("error: {error}"),
    }
}

const SCHEME: &str = "error: Authorization must read: Bearer, a space, the token";
const BOTH: &str = "error: Authorization and X-User-Id are both given: send one of them";
const GATEWAY_AND_TOKEN: &str =
    "error: Authorization and X-Gateway-Secret are both given: send one of them";

#[test]
fn a_request_offers_one_well_formed_credential_or_is_told_what_is_wrong() {
    let authorization = "authorization";
    let user = "x-user-id";
    let gateway = "x-gateway-secret";
    let cases: &[(Headers, &str)] = &[
        (&[], "nothing"),
        (&[("cookie", b"a=b")], "nothing"),
        (&[(authorization, b"Bearer abc.def")], "token abc.def"),
        (&[(authorization, b"bearer abc")], "token abc"),
        (&[(authorization, b"Bearer loq_a1")], "key loq_a1"),
        (&[(authorization, b"Bearer LOQ_a1")], "token LOQ_a1"),
        (&[(authorization, b"BEARER   abc  ")], "token abc"),
        (&[(authorization, b"")], "error: Authorization is empty"),
        (&[(authorization, b"  ")], "error: Authorization is empty"),
        (
            &[(authorization, b"Bearer")],
            "error: Authorization is empty",
        ),
        (
            &[(authorization, b"Bearer   ")],
            "error: Authorization is empty",
        ),
        (&[(authorization, b"abc.def.ghi")], SCHEME),
        (&[(authorization, b"Basic dTpw")], SCHEME),
        (&[(authorization, b"Digest a=b")], SCHEME),
        (&[(authorization, b"Bearerabc")], SCHEME),
        (&[(authorization, b"Bearer\tabc")], SCHEME),
        (
            &[(authorization, b"Bearer a b")],
            "error: Authorization holds characters that it must not hold",
        ),
        (
            &[(authorization, b"Bearer Bearer a")],
            "error: Authorization holds characters that it must not hold",
        ),
        (
            &[(authorization, "Bearer ü".as_bytes())],
            "error: Authorization holds characters that it must not hold",
        ),
        (
            &[(authorization, b"Bearer \xff")],
            "error: Authorization holds characters that it must not hold",
        ),
        (
            &[(authorization, b"Bearer a"), (authorization, b"Bearer a")],
            "error: Authorization is given more than once",
        ),
        (&[(user, b"ada")], "user ada"),
        (&[(user, b" Ada L. ")], "user Ada L."),
        (&[(user, "阿达".as_bytes())], "user 阿达"),
        (&[(user, b"")], "error: X-User-Id is empty"),
        (&[(user, b" \t ")], "error: X-User-Id is empty"),
        (
            &[(user, b"a\tb")],
            "error: X-User-Id holds characters that it must not hold",
        ),
        (
            &[(user, b"\xc3\x28")],
            "error: X-User-Id holds characters that it must not hold",
        ),
        (
            &[(user, b"ada"), (user, b"bob")],
            "error: X-User-Id is given more than once",
        ),
        (&[(gateway, b"s"), (user, b"ada")], "gateway s user ada"),
        (
            &[(gateway, b" s "), (user, b" Ada L. ")],
            "gateway s user Ada L.",
        ),
        // A blank of another kind is a part of the id: without it, it would be another user's.
        (
            &[(gateway, b"s"), (user, "\u{a0}ada".as_bytes())],
            "gateway s user \u{a0}ada",
        ),
        (
            &[(gateway, b"s")],
            "error: X-Gateway-Secret needs X-User-Id beside it",
        ),
        (
            &[(gateway, b""), (user, b"ada")],
            "error: X-Gateway-Secret is empty",
        ),
        (
            &[(gateway, b"s"), (user, b" ")],
            "error: X-User-Id is empty",
        ),
        (
            &[(gateway, b"s"), (gateway, b"s"), (user, b"ada")],
            "error: X-Gateway-Secret is given more than once",
        ),
        (
            &[(gateway, b"\xff"), (user, b"ada")],
            "error: X-Gateway-Secret holds characters that it must not hold",
        ),
        (
            &[(gateway, b"s"), (authorization, b"Bearer a")],
            GATEWAY_AND_TOKEN,
        ),
        (
            &[(gateway, b""), (authorization, b""), (user, b"ada")],
            GATEWAY_AND_TOKEN,
        ),
        (&[(authorization, b"Bearer a"), (user, b"ada")], BOTH),
        (&[(authorization, b"Basic a"), (user, b"")], BOTH),
    ];
    for (pairs, expected) in cases {
        assert_eq!(
            outcome(credential_from_headers(&headers(pairs))),
            *expected,
            "{pairs:?}"
        );
    }
}

#[test]
fn a_socket_offers_one_well_formed_credential_or_is_told_what_is_wrong() {
    let cases: &[(Value, &str)] = &[
        (json!(null), "nothing"),
        (json!({}), "nothing"),
        (json!({ "headers": {} }), "nothing"),
        (json!({ "headers": null, "token": null }), "nothing"),
        (
            json!({ "locale": "de", "nested": { "token": "a" } }),
            "nothing",
        ),
        (json!({ "authorization": "Bearer a.b" }), "token a.b"),
        (json!({ "Authorization": "bearer a.b" }), "token a.b"),
        (json!({ "authorization": "a.b" }), "token a.b"),
        (json!({ "token": "a.b" }), "token a.b"),
        (json!({ "token": "loq_a1" }), "key loq_a1"),
        (json!({ "authorization": "Bearer loq_a1" }), "key loq_a1"),
        (json!({ "headers": { "token": "loq_a1" } }), "key loq_a1"),
        (json!({ "token": "Bearer a.b" }), "token a.b"),
        (json!({ "token": " a.b " }), "token a.b"),
        (
            json!({ "headers": { "Authorization": "Bearer a.b" } }),
            "token a.b",
        ),
        (
            json!({ "headers": { "authorization": "a.b" } }),
            "token a.b",
        ),
        (json!({ "headers": { "token": "a.b" } }), "token a.b"),
        (json!({ "X-User-Id": "ada" }), "user ada"),
        (json!({ "x-user-id": " ada " }), "user ada"),
        (json!({ "headers": { "X-User-Id": "ada" } }), "user ada"),
        (json!({ "token": null, "x-user-id": "ada" }), "user ada"),
        (
            json!({ "authorization": "Bearer a", "headers": { "Authorization": "Bearer a" } }),
            "token a",
        ),
        (
            json!({ "token": "a", "headers": { "Authorization": "Bearer b" } }),
            "error: Authorization is given more than once",
        ),
        (
            json!({ "x-user-id": "ada", "headers": { "X-User-Id": "bob" } }),
            "error: X-User-Id is given more than once",
        ),
        (json!({ "token": "a", "X-User-Id": "ada" }), BOTH),
        (
            json!({ "token": "a", "headers": { "X-User-Id": "ada" } }),
            BOTH,
        ),
        (json!({ "token": "" }), "error: token is empty"),
        (
            json!({ "authorization": " " }),
            "error: Authorization is empty",
        ),
        (
            json!({ "token": "Bearer" }),
            "error: Authorization is empty",
        ),
        (
            json!({ "token": "Bearer " }),
            "error: Authorization is empty",
        ),
        (json!({ "token": "Basic a" }), SCHEME),
        (
            json!({ "token": "a\nb" }),
            "error: token holds characters that it must not hold",
        ),
        (json!({ "X-User-Id": "" }), "error: X-User-Id is empty"),
        (
            json!({ "X-User-Id": "a\u{0}" }),
            "error: X-User-Id holds characters that it must not hold",
        ),
        (
            json!({ "token": 1 }),
            "error: token in the payload of connection_init must be a string",
        ),
        (
            json!({ "Authorization": ["Bearer a"] }),
            "error: Authorization in the payload of connection_init must be a string",
        ),
        (
            json!({ "x-user-id": 7 }),
            "error: X-User-Id in the payload of connection_init must be a string",
        ),
        (
            json!({ "headers": "Authorization: Bearer a" }),
            "error: headers in the payload of connection_init must be an object",
        ),
        (
            json!("Bearer a"),
            "error: the payload of connection_init must be an object",
        ),
        (
            json!([]),
            "error: the payload of connection_init must be an object",
        ),
        (
            json!(false),
            "error: the payload of connection_init must be an object",
        ),
    ];
    for (payload, expected) in cases {
        assert_eq!(
            outcome(credential_from_connection_init(&HeaderMap::new(), payload)),
            *expected,
            "{payload}"
        );
    }
}

/// The secret of a gateway never meets a name that somebody else has written.
#[test]
fn a_gateway_speaks_for_a_socket_in_the_handshake_alone() {
    let beside = "error: X-Gateway-Secret is a header of the handshake: \
                  the payload must bring no credential";
    let inside = "error: X-Gateway-Secret must be a header of the handshake, not part of a payload";
    let both: Headers = &[("x-gateway-secret", b"s"), ("x-user-id", b"ada")];
    let secret: Headers = &[("x-gateway-secret", b"s")];
    let token: Headers = &[("authorization", b"Bearer a")];
    let cases: &[(Headers, Value, &str)] = &[
        (both, json!(null), "gateway s user ada"),
        (
            both,
            json!({ "token": null, "locale": "de" }),
            "gateway s user ada",
        ),
        (both, json!({ "token": "a" }), beside),
        (both, json!({ "token": "loq_a" }), beside),
        (both, json!({ "X-User-Id": "ada" }), beside),
        (both, json!({ "X-User-Id": "eve" }), beside),
        (secret, json!({ "X-User-Id": "eve" }), beside),
        (
            secret,
            json!(null),
            "error: X-Gateway-Secret needs X-User-Id beside it",
        ),
        (token, json!({ "X-Gateway-Secret": "s" }), inside),
        (both, json!({ "x-gateway-secret": "s" }), inside),
        (
            &[],
            json!({ "headers": { "X-Gateway-Secret": "s", "X-User-Id": "eve" } }),
            inside,
        ),
        (&[], json!({ "X-GATEWAY-SECRET": 1, "token": "a" }), inside),
        (token, json!({ "X-Gateway-Secret": null }), "token a"),
        (token, json!({ "token": "b" }), "token b"),
    ];
    for (pairs, payload, expected) in cases {
        let headers = headers(pairs);
        assert_eq!(
            outcome(credential_from_connection_init(&headers, payload)),
            *expected,
            "{pairs:?} {payload}"
        );
        if expected.starts_with("error: X-Gateway-Secret is") || *expected == inside {
            assert_eq!(
                outcome(credential_from_ping(&headers, payload)),
                *expected,
                "a ping"
            );
        }
    }
}

#[test]
fn a_url_holds_no_credential() {
    for query in [
        None,
        Some(""),
        Some("query={viewer{id}}&variables={\"token\":1}&operationName=token"),
        Some("tokens=1&mytoken=2&cursor=token"),
    ] {
        assert_eq!(no_credential_in_query(query), Ok(()), "{query:?}");
    }
    for (query, name) in [
        ("access_token=se", "access_token"),
        ("query=x&token=se", "token"),
        ("TOKEN", "token"),
        ("acce%73s_token=se", "access_token"),
        ("Authorization=Bearer+se", "authorization"),
        ("api_key=loq_se", "api_key"),
        ("apiKey=loq_se", "apikey"),
        ("jwt=se", "jwt"),
        ("id_token=se", "id_token"),
        ("X-User-Id=se", "x-user-id"),
        ("x-gateway-secret=se", "x-gateway-secret"),
    ] {
        let error = no_credential_in_query(Some(query)).expect_err(query);
        assert_eq!(error, CredentialError::InUrl(name));
        assert_eq!(
            error.to_string(),
            format!("{name} stands in the URL, which logs keep: send it in a header")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_or_payload_panics_and_no_error_repeats_what_it_was_given(
        value in any::<String>(),
        bytes in any::<Vec<u8>>(),
    ) {
        let marked = format!("se{value}cret-marker");
        let payload = json!({ "authorization": marked, "headers": { "x-user-id": value } });
        if let Err(error) = credential_from_ping(&HeaderMap::new(), &payload) {
            assert!(!error.to_string().contains("cret-marker"));
        }
        let _ = credential_from_ping(&HeaderMap::new(), &json!({ "token": value }));
        let _ = no_credential_in_query(Some(&value));
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            for name in ["authorization", "x-user-id", "x-gateway-secret"] {
                let mut headers = HeaderMap::new();
                headers.insert(HeaderName::from_static(name), value.clone());
                let _ = credential_from_headers(&headers);
            }
        }
    }
}
