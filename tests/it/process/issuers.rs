//! A server that several issuers and a gateway send their users to.

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    mini::Socket,
    provider::FakeProvider,
    support::{
        TestDatabase,
        process::{Answer, Device, program},
        program::{Program, Server},
        text,
    },
};

const ONE: &str = "the-first-secret-of-more-than-thirty-two-bytes";
const TWO: &str = "the-second-secret-of-more-than-thirty-two-bytes";
const GATEWAY: &str = "the-gateway-s-secret-of-more-than-thirty-two-bytes";
const FILE: &str = "
    environment = 'production'
    [[issuers]]
    name = 'the old app'
    issuer = 'https://one.test'
    secret_variable = 'OLD_APP_SECRET'
    [[issuers]]
    name = 'the new app'
    issuer = 'https://two.test'
    secret_variable = 'NEW_APP_SECRET'
";

fn token(secret: &str, issuer: &str, user: &str) -> String {
    let claims = json!({ "iss": issuer, "sub": user, "exp": 9_999_999_999_u64 });
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

async fn server(test: &TestDatabase, model: &FakeProvider) -> Server {
    program(test, model)
        .file("loquat.toml", FILE)
        .file(".env", &format!("NEW_APP_SECRET={TWO}"))
        .variable("OLD_APP_SECRET", ONE)
        .variable("LOQUAT_GATEWAY_SECRET", GATEWAY)
        .serve()
        .await
}

/// A request without a credential, in whose headers one may be put.
fn post(server: &Server) -> RequestBuilder {
    Device::anonymous(server).post()
}

fn by_gateway(server: &Server, secret: &str, user: &str) -> RequestBuilder {
    post(server)
        .header("x-gateway-secret", secret)
        .header("x-user-id", user)
}

async fn viewer(request: RequestBuilder) -> Value {
    let body = json!({ "query": "{ viewer { id issuer externalId } }" });
    let mut answer = Answer::to(request.json(&body)).await;
    assert_eq!(answer.body.get("errors"), None, "{answer:?}");
    answer.body["data"]["viewer"].take()
}

async fn refusal(request: RequestBuilder) -> String {
    let answer = Answer::to(request.json(&json!({ "query": "{ viewer { id } }" }))).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.code(), "UNAUTHENTICATED");
    text(&answer.error()["message"])
}

#[tokio::test]
async fn the_same_id_from_two_issuers_and_a_gateway_is_three_users() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = server(&test, &model).await;
    let old = Device::with_token(&server, &token(ONE, "https://one.test", "42"));
    let new = Device::with_token(&server, &token(TWO, "https://two.test", "42"));
    let users = [
        viewer(old.post()).await,
        viewer(new.post()).await,
        viewer(by_gateway(&server, GATEWAY, "42")).await,
    ];
    let issuers = users.each_ref().map(|user| text(&user["issuer"]));
    assert_eq!(issuers, ["the old app", "the new app", "gateway"]);
    assert!(users.iter().all(|user| user["externalId"] == "42"));
    for (one, other) in [(0, 1), (1, 2), (2, 0)] {
        assert_ne!(users[one]["id"], users[other]["id"]);
    }

    let conversation = old.start_chat().await;
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let variables = json!({ "id": conversation });
    assert!(old.data(node, variables.clone()).await["node"].is_object());
    assert!(new.data(node, variables.clone()).await["node"].is_null());
    let body = json!({ "query": node, "variables": variables });
    let answer = Answer::to(by_gateway(&server, GATEWAY, "42").json(&body)).await;
    assert_eq!(answer.body, json!({ "data": { "node": null } }));
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_one_text_that_says_nothing() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = server(&test, &model).await;
    let good = token(ONE, "https://one.test", "ann");
    let refused = refusal(by_gateway(&server, ONE, "ann")).await;
    let bearer = |token: &str| post(&server).bearer_auth(token);
    for request in [
        by_gateway(&server, GATEWAY, "ann").bearer_auth(&good),
        post(&server).header("x-user-id", "ann").bearer_auth(&good),
        post(&server).header("x-gateway-secret", GATEWAY),
        bearer(&good).query(&[("access_token", &good)]),
        post(&server).query(&[("Token", &good)]),
        bearer(&token(ONE, "https://two.test", "ann")),
        bearer(&token(ONE, "https://three.test", "ann")),
        bearer(&token(GATEWAY, "gateway", "ann")),
        bearer("loq_of-nobody"),
        bearer("no.to.ken"),
        by_gateway(&server, "x", "ann"),
        by_gateway(&server, GATEWAY, &"x".repeat(256)),
        post(&server).header("x-user-id", "ann"),
    ] {
        assert_eq!(refusal(request).await, refused);
    }

    let users: i64 =
        sqlx::query_scalar("select count(*) from chat.users where external_id = 'ann'")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("a count");
    assert_eq!(users, 0);
}

async fn socket(server: &Server, headers: &[(&'static str, &str)]) -> Socket {
    let stream = TcpStream::connect(server.address()).await;
    Socket::open_with(stream.expect("a connection"), headers).await
}

#[tokio::test]
async fn a_gateway_opens_sockets_by_the_headers_of_the_handshake_alone() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = server(&test, &model).await;
    let gateway = [("x-gateway-secret", GATEWAY), ("x-user-id", "ann")];
    let good = token(ONE, "https://one.test", "ann");

    let mut open = socket(&server, &gateway).await;
    open.init_with(json!({})).await;
    open.send(
        json!({ "type": "subscribe", "id": "a", "payload": { "query": "{ viewer { issuer } }" } }),
    )
    .await;
    let next = open.next().await;
    assert_eq!(next["payload"]["data"]["viewer"]["issuer"], "gateway");
    assert_eq!(open.next().await["type"], "complete");
    // Nor may a ping bring another credential.
    open.send(json!({ "type": "ping", "payload": { "token": good } }))
        .await;
    assert_eq!(open.closed().await.0, 4403);

    let secret = [("x-gateway-secret", GATEWAY)];
    let cases: [(&[(&'static str, &str)], Value); 7] = [
        (&gateway, json!({ "token": good })),
        (&gateway, json!({ "X-User-Id": "eve" })),
        (&gateway, json!({ "X-User-Id": "ann" })),
        (&secret, json!({ "X-User-Id": "eve" })),
        (&secret, json!({})),
        (
            &[],
            json!({ "X-Gateway-Secret": GATEWAY, "X-User-Id": "eve" }),
        ),
        (
            &[("x-user-id", "eve")],
            json!({ "headers": { "X-Gateway-Secret": GATEWAY } }),
        ),
    ];
    for (headers, payload) in cases {
        let mut socket = socket(&server, headers).await;
        socket
            .send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(socket.closed().await.0, 4403, "{headers:?} {payload}");
    }
}

#[tokio::test]
async fn the_command_line_makes_an_admin_of_the_issuer_that_it_names() {
    let data = tempfile::tempdir().expect("a folder");
    let run = |arguments: &'static [&str]| {
        Program::new(arguments)
            .variable("LOQUAT_DATA_DIR", data.path().to_str().expect("text"))
            .variable("OLD_APP_SECRET", ONE)
            .variable("NEW_APP_SECRET", TWO)
    };
    let output = run(&["token", "--user", "ann", "--admin"]).output().await;
    assert!(output.status.success());
    let token = String::from_utf8(output.stdout).expect("text");
    let claims = loquat::auth::Unverified::read(token.trim_end())
        .expect("a token")
        .claims;
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["admin"]),
        (&json!("loquat-development"), &json!("ann"), &json!(true))
    );

    let file = FILE.replace("production", "development");
    let output = run(&["token", "--user", "ann", "--issuer", "the new app"])
        .file("loquat.toml", &file)
        .output()
        .await;
    let token = String::from_utf8(output.stdout).expect("text");
    let claims = loquat::auth::Unverified::read(token.trim_end())
        .expect("a token")
        .claims;
    assert_eq!(claims["iss"], "https://two.test");

    let line = run(&["token", "--user", "ann"])
        .file("loquat.toml", &file)
        .refusal()
        .await;
    assert_eq!(
        line,
        "there are several issuers: choose one by --issuer, of the old app, the new app"
    );
}
