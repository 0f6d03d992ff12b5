//! Tokens against the clock, on the whole server.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase,
        process::{Answer, Device, program},
        program::{Program, Server},
        text,
    },
};

const SECRET: &str = "a-secret-of-this-test-of-32-bytes-or-more";

/// A token for this user that expires so many whole seconds after the present one.
fn token(user: &str, lasts: i64, more: &Value) -> String {
    signed(SECRET, user, lasts, more)
}

fn signed(secret: &str, user: &str, lasts: i64, more: &Value) -> String {
    let mut claims = json!({ "sub": user, "exp": now().as_secs().saturating_add_signed(lasts) });
    let claims = claims.as_object_mut().expect("an object");
    claims.extend(more.as_object().expect("an object").clone());
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
}

fn with_issuer(test: &TestDatabase, model: &FakeProvider) -> Program {
    program(test, model)
        .variable("JWT_SECRET_KEY", SECRET)
        .variable("JWT_LEEWAY_SECONDS", "0")
}

async fn external_id(device: &Device) -> String {
    let data = device.data("{ viewer { externalId } }", json!({})).await;
    text(&data["viewer"]["externalId"])
}

#[tokio::test]
async fn a_socket_lives_as_long_as_its_token_and_a_ping_can_extend_it() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    let script = Script::stream().text("before ").wait(&gate).text("after");
    model.script(script.complete());
    let server = with_issuer(&test, &model).serve().await;
    let lasting = Device::with_token(&server, &token("ann", 600, &json!({})));
    let conversation = lasting.start_chat().await;
    let reply = lasting.send(&conversation, "hi").await;

    let expires_at = Duration::from_secs(now().as_secs() + 3);
    let short = Device::with_token(&server, &token("ann", 3, &json!({})));
    let mut follower = short.follow(&reply).await;
    let mut extended = short.socket().await;
    let mut foreign = short.socket().await;
    let mut refreshed = short.socket().await;
    follower.until("before ").await;

    let fresh = json!({ "token": token("ann", 600, &json!({})) });
    extended
        .send(json!({ "type": "ping", "payload": fresh }))
        .await;
    let pong = extended.next().await;
    assert_eq!(pong, json!({ "type": "pong", "payload": fresh }));
    let bob = json!({ "authorization": format!("Bearer {}", token("bob", 600, &json!({}))) });
    foreign
        .send(json!({ "type": "ping", "payload": bob }))
        .await;
    assert_eq!(foreign.closed().await.0, 4403);
    let refresh = json!({ "token": token("ann", 600, &json!({ "token_type": "refresh" })) });
    refreshed
        .send(json!({ "type": "ping", "payload": refresh }))
        .await;
    assert_eq!(refreshed.closed().await.0, 4403);

    assert!(now() < expires_at, "this machine is too slow for this test");
    assert_eq!(follower.socket.closed().await.0, 4403);
    assert!(now() >= expires_at);
    assert!(now() < expires_at + Duration::from_secs(1), "late");
    assert!(extended.is_alive().await);
    let late = short.answer("{ viewer { id } }", json!({})).await;
    assert_eq!(
        (late.status.as_u16(), late.code()),
        (401, "UNAUTHENTICATED")
    );

    // The reply went on without its reader, who comes back with a fresh token.
    let mut follower = lasting.follow(&reply).await;
    gate.open();
    assert_eq!(follower.finished().await["content"], "before after");
    assert!(extended.is_alive().await);
}

/// A refusal as a client that reads only the status, or only the body, needs it.
async fn refused_with_401(request: impl Fn() -> reqwest::RequestBuilder, what: &str) {
    for accept in ["application/json", "application/graphql-response+json"] {
        let body = json!({ "query": "{ viewer { id } }" });
        let answer = Answer::to(request().header("accept", accept).json(&body)).await;
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{what}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        let media = answer.headers["content-type"].to_str().expect("text");
        assert_eq!(media, format!("{accept}; charset=utf-8"));
        let message = answer.error()["message"].as_str().expect("text");
        assert!(
            message.contains("ign in") || message.contains("credential"),
            "{message}"
        );
        assert_eq!(answer.body.get("data"), None);
    }
}

#[tokio::test]
async fn whoever_is_not_signed_in_gets_401_and_a_socket_4403() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = with_issuer(&test, &model).serve().await;
    assert_eq!(
        external_id(&Device::with_token(&server, &token("ann", 60, &json!({})))).await,
        "ann"
    );

    let none = json!({});
    let tokens = [
        ("expired", token("ann", -1, &none)),
        (
            "Django's refresh",
            token("ann", 60, &json!({ "token_type": "refresh" })),
        ),
        (
            "Flask's refresh",
            token("ann", 60, &json!({ "type": "refresh" })),
        ),
        (
            "not yet valid",
            token("ann", 60, &json!({ "nbf": now().as_secs() + 30 })),
        ),
        ("without a user", token("ann", 60, &json!({ "sub": null }))),
        (
            "signed by another",
            signed(&SECRET.replace("this", "that"), "ann", 60, &none),
        ),
        ("no token", "ann".to_owned()),
    ];
    let devices = tokens
        .iter()
        .map(|(what, token)| (*what, Device::with_token(&server, token)))
        .chain([
            ("nobody", Device::anonymous(&server)),
            ("a name alone", Device::of(&server, "ann")),
        ]);
    for (what, device) in devices {
        refused_with_401(|| device.post(), what).await;
        let mut socket = device.judged_socket().await;
        assert_eq!(socket.closed().await.0, 4403, "{what}");
    }
    // What anybody may ask is refused too when a credential comes along that is no good.
    let anybody = Device::anonymous(&server);
    let data = anybody.data("{ __typename }", json!({})).await;
    assert_eq!(data["__typename"], "Query");
    let expired = Device::with_token(&server, &tokens[0].1);
    let answer = expired.answer("{ __typename }", json!({})).await;
    assert_eq!(answer.status, 401);
    let users: i64 = sqlx::query_scalar("select count(*) from chat.users")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(users, 1);
}

const INTROSPECTION: &str = "{ __schema { queryType { name } } __type(name: \"Viewer\") { name } }";

async fn introspects(server: &Server) {
    let device = Device::with_token(server, &token("ann", 60, &json!({})));
    let data = device.data(INTROSPECTION, json!({})).await;
    assert_eq!(data["__type"]["name"], "Viewer");
}

#[tokio::test]
async fn in_production_only_the_signed_in_may_read_the_schema() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let production = with_issuer(&test, &model).variable("ENVIRONMENT", "production");
    let server = production.serve().await;

    let answer = Device::anonymous(&server)
        .answer(INTROSPECTION, json!({}))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "UNAUTHENTICATED")
    );
    let name = Device::of(&server, "ann");
    let answer = name.answer(INTROSPECTION, json!({})).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "UNAUTHENTICATED")
    );
    introspects(&server).await;
    // Behind a proxy the Host is the public one.
    let device = Device::with_token(&server, &token("ann", 60, &json!({})));
    let public = device.post().header("host", "chat.example.com");
    let answer = Answer::to(public.json(&json!({ "query": "{ viewer { id } }" }))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn in_development_anybody_may_read_the_schema_and_nothing_else() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = with_issuer(&test, &model).serve().await;
    let anybody = Device::anonymous(&server);
    let data = anybody.data(INTROSPECTION, json!({})).await;
    assert_eq!(data["__schema"]["queryType"]["name"], "Query");
    let answer = anybody
        .answer(
            "{ __schema { queryType { name } } viewer { id } }",
            json!({}),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "UNAUTHENTICATED")
    );
    introspects(&server).await;
}

#[tokio::test]
async fn a_token_of_the_command_line_is_the_user_of_that_name() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().to_str().expect("text");
    let server = program(&test, &model)
        .variable("LOQUAT_DATA_DIR", folder)
        .serve()
        .await;
    let output = Program::new(&["token", "--user", "ann", "--ttl", "1m"])
        .variable("LOQUAT_DATA_DIR", folder)
        .output()
        .await;
    let token = String::from_utf8(output.stdout).expect("text");
    let (by_token, by_name) = (
        Device::with_token(&server, token.trim_end()),
        Device::of(&server, "ann"),
    );
    assert_eq!(external_id(&by_token).await, "ann");
    let conversation = by_name.start_chat().await;
    let reply = by_token.send(&conversation, "hi").await;
    let finished = by_token.follow(&reply).await.finished().await;
    assert_eq!(finished["content"], "ok");
    assert_eq!(by_name.message(&reply).await["content"], "ok");
}
