//! What the logs must never hold, at their most talkative.

use jsonwebtoken::{EncodingKey, Header, encode};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    provider::{FakeProvider, Script},
    support::{
        TestDatabase,
        process::{Device, program},
    },
};

const PASSWORD: &str = "password-hunter2";
const SECRET: &str = "secret-hunter2-and-more-than-32-bytes-of-it";
const API_KEY: &str = "sk-hunter2";

fn token(user: &str, secret: &str, expires_at: u64) -> String {
    let claims = json!({
        "sub": user, "exp": expires_at,
        "email": "hunter2@example.com", "name": "Hunter Two hunter2",
    });
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

/// A life with everything in it that the logs must not repeat, each with `hunter2` inside.
async fn a_life_with_secrets(filter: &str) {
    let test = TestDatabase::create().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {role} superuser login password '{PASSWORD}'"
    )))
    .execute(&mut test.superuser().await)
    .await
    .expect("a role");
    let model = FakeProvider::start().await;
    model.when_asked("good", Script::reply(["a reply of ", "hunter2"]));
    let broken = Script::stream()
        .text("hunter2")
        .data("{\"choices\": \"hunter2\"");
    model.when_asked("broken", broken.done());
    model.when_asked(
        "refused",
        Script::error(
            400,
            "invalid_request_error",
            "hunter2",
            "your hunter2 is bad",
        ),
    );
    model.when_asked("cut", Script::stream().text("hunter2").cut());
    let server = program(&test, &model)
        .variable("DATABASE_URL", test.url_as(&role, PASSWORD).expose_secret())
        .variable("OPENAI_API_KEY", API_KEY)
        .variable("JWT_SECRET_KEY", SECRET)
        .variable("LOQUAT_SYSTEM_PROMPT", "be like hunter2")
        .variable("LOQUAT_PROVIDER_RETRIES", "0")
        .variable("LOQUAT_LOG", filter)
        .serve()
        .await;

    let good = token("ann-hunter2", SECRET, 4_000_000_000);
    let device = Device::with_token(&server, &good);
    let conversation = device.start_chat().await;
    for prompt in ["good", "broken", "cut", "refused"] {
        let prompt = format!("{prompt} hunter2");
        let reply = device.send(&conversation, &prompt).await;
        device.follow(&reply).await.finished().await;
    }
    assert!(
        model.requests()[0].headers["authorization"]
            .to_str()
            .is_ok_and(|key| key.ends_with(API_KEY))
    );
    device
        .data(
            "mutation($id: ID!, $text: String!) { updateConversation(input: { \
               conversationId: $id, title: $text, systemPrompt: $text }) \
               { conversation { title } } }",
            json!({ "id": conversation, "text": "hunter2" }),
        )
        .await;
    // Refusals, which are what somebody would log.
    for bad in [
        token("ann", SECRET, 1),
        token(
            "ann",
            "another-hunter2-secret-of-32-bytes-or-more",
            4_000_000_000,
        ),
        "hunter2".to_owned(),
    ] {
        let device = Device::with_token(&server, &bad);
        let answer = device.answer("{ viewer { id } }", json!({})).await;
        assert_eq!(answer.status, 401);
        assert_eq!(device.judged_socket().await.closed().await.0, 4403);
    }
    for document in [
        "{ hunter2 }",
        "{ \"hunter2\" }",
        "{ node(id: \"hunter2\") { id } }",
    ] {
        let answer = device
            .answer(document, json!({ "hunter2": "hunter2" }))
            .await;
        assert!(answer.body["errors"].is_array(), "{answer:?}");
    }

    server.signal(Signal::SIGTERM);
    let ended = server.end().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "reassign owned by {role} to current_user; drop owned by {role}; drop role {role}"
    )))
    .execute(&mut test.superuser().await)
    .await
    .expect("dropped");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.errors, "");
    assert!(
        ended.output.contains("answered a request"),
        "{}",
        ended.output
    );
    let leaks: Vec<&str> = ended
        .output
        .lines()
        .filter(|line| {
            // Base64 is no disguise: the middle of a token, and hexadecimal digits of a claim.
            let payload = good.split('.').nth(1).expect("a payload");
            line.to_lowercase().contains("hunter2")
                || line.contains(payload)
                || line.contains(&hex::encode("hunter2"))
        })
        .collect();
    assert!(
        leaks.is_empty(),
        "{} lines, such as {:?}",
        leaks.len(),
        &leaks[..leaks.len().min(5)]
    );
}

#[tokio::test]
async fn no_secret_is_logged_at_info() {
    a_life_with_secrets("info").await;
}

#[tokio::test]
async fn no_secret_is_logged_at_debug() {
    a_life_with_secrets("debug").await;
}

#[tokio::test]
async fn no_secret_is_logged_at_trace() {
    a_life_with_secrets("trace").await;
}
