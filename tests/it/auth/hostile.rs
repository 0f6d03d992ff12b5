//! Credentials that must not pass, each beside its twin that must: what the check keeps out is what
//! the case is about, not a slip in the test.

use std::collections::BTreeMap;

use http::HeaderValue;
use loquat::{
    auth::{AuthError, Authenticator},
    config::{Environment, Settings},
    lifecycle::Lifecycle,
};
use serde_json::{Value, json};

use super::{
    issuer::{AUDIENCE, ISSUER, TestKey, good_claims, hs256, offer, reason},
    jwks_server::JwksServer,
    server::{Headers, Reply, Server},
};

mod claims;
mod headers;
mod issuers;
mod keys;
mod random;
mod requests;
mod shapes;
mod signatures;
mod sockets;
mod users;

struct Case {
    name: String,
    hostile: Offer,
    twin: Offer,
    /// The hostile token names a key that nobody knows. One is enough to send for the keys; what
    /// the next in the cool-down hears, is told in `jwks`.
    names_new_key: bool,
}

enum Offer {
    /// As a bearer.
    Token(String),
    /// A POST with these headers and this query string.
    Request(Headers, String),
    /// The payload of `connection_init`.
    Payload(Value),
}

impl Case {
    fn tokens(name: impl Into<String>, hostile: String, twin: String) -> Self {
        Self {
            name: name.into(),
            hostile: Offer::Token(hostile),
            twin: Offer::Token(twin),
            names_new_key: false,
        }
    }

    fn naming_new_key(self) -> Self {
        Self {
            names_new_key: true,
            ..self
        }
    }
}

/// Both signed with the secret; only these claims differ.
fn claims(name: &str, hostile: Value, twin: Value) -> Case {
    let key = hs256();
    Case::tokens(
        format!("claims: {name}"),
        key.token(json!({}), hostile),
        key.token(json!({}), twin),
    )
}

/// Signed with the secret; the payloads are these texts.
fn payloads(name: &str, hostile: &str, twin: &str) -> Case {
    let sign = |payload| hs256().sign(r#"{"alg":"HS256"}"#, payload);
    Case::tokens(format!("payload: {name}"), sign(hostile), sign(twin))
}

/// The payload of a good token as it is written, with `members` in front.
fn written(members: &str) -> String {
    let good = good_claims().to_string();
    format!("{{{members}{}", &good[1..])
}

/// The issuer `jwt` trusts a secret and, of the key set, `rsa`, `ec` and `ed`, each for one
/// algorithm; the issuer `other` another secret. A gateway is trusted too.
fn trusting(server: &JwksServer) -> Settings {
    let mut settings = server.settings_with_secret();
    let mut other = settings.issuers[0].clone();
    other.name = "other".to_owned();
    other.issuer = Some(issuers::OTHER.to_owned());
    other.audience = Some(issuers::OTHER_AUDIENCE.to_owned());
    other.secret = Some(issuers::OTHER_SECRET.to_owned().into());
    other.jwks_url = None;
    other.algorithms = vec![jsonwebtoken::Algorithm::HS256];
    settings.issuers.push(other);
    settings.environment = Environment::Production;
    settings.gateway_secret = Some(requests::GATEWAY_SECRET.to_owned().into());
    settings
}

fn cases() -> Vec<Case> {
    [
        shapes::cases(),
        headers::cases(),
        claims::cases(),
        issuers::cases(),
        users::cases(),
        keys::cases(),
        signatures::cases(),
        requests::cases(),
        sockets::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn every_hostile_credential_is_refused_with_one_answer_and_its_twin_is_accepted() {
    let published = JwksServer::start(&[
        TestKey::rsa_a().published("rsa", json!({})),
        TestKey::p256_a().published("ec", json!({})),
        TestKey::ed25519_a().published("ed", json!({})),
        json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0" }),
    ])
    .await;
    let settings = trusting(&published);
    let new_authenticator =
        || Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");
    let authenticator = new_authenticator();
    let server = Server::start(settings.clone()).await;

    let cases = cases();
    let mut outcomes = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let judge = match case.names_new_key {
            true => &new_authenticator(),
            false => &authenticator,
        };
        let refused_for = match &case.hostile {
            Offer::Token(token) => {
                let outcome = offer(judge, token.as_str()).await;
                if let Err(error @ AuthError::Refused(_)) = &outcome {
                    assert_eq!(error.to_string(), "the credential was not accepted");
                } else {
                    wrong.push(format!("{}: {}", case.name, reason(&outcome)));
                }
                reason(&outcome)
            }
            Offer::Request(..) | Offer::Payload(_) => "the shape of the request",
        };
        let before = outcomes.insert(case.name.as_str(), refused_for);
        assert_eq!(before, None, "{}: two cases of one name", case.name);
        if !case.names_new_key {
            let reply = put(&server, &case.hostile).await;
            if !matches!(reply, None | Some(Reply::Refused)) {
                wrong.push(format!("{}: {reply:?}", case.name));
            }
        }
        if let Offer::Token(token) = &case.twin {
            let outcome = offer(&authenticator, token.as_str()).await;
            if outcome.is_err() {
                wrong.push(format!("{}: the twin: {}", case.name, reason(&outcome)));
            }
        }
        let reply = put(&server, &case.twin).await;
        if !matches!(reply, Some(Reply::User(_))) {
            wrong.push(format!("{}: the twin: {reply:?}", case.name));
        }
    }
    print(&outcomes);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cases.len() >= 100, "{} cases", cases.len());
}

/// How the whole server answers. `None`: it cannot be sent so, or would be mended on the way.
async fn put(server: &Server, offer: &Offer) -> Option<Reply> {
    match offer {
        Offer::Token(token) if token.trim() != token || token.starts_with("Bearer ") => None,
        Offer::Token(token) => {
            let value = format!("Bearer {token}").into_bytes();
            Some(match HeaderValue::from_bytes(&value) {
                Ok(_) => server.ask(&vec![("authorization", value)], "").await,
                Err(_) => server.open(&json!({ "token": token })).await,
            })
        }
        Offer::Request(headers, query) => Some(server.ask(headers, query).await),
        Offer::Payload(payload) => Some(server.open(payload).await),
    }
}

#[expect(clippy::print_stdout, reason = "the list is for whoever reads the run")]
fn print(outcomes: &BTreeMap<&str, &str>) {
    for (name, refused_for) in outcomes {
        println!("{name} -> {refused_for}");
    }
    println!(
        "{} hostile credentials, each beside a valid twin",
        outcomes.len()
    );
}
