//! Documents that would cost too much.

use serde_json::json;

use super::{assert_harmless, ends_without_a_fault, still_answers};
use crate::{
    provider::FakeProvider,
    support::{
        TestDatabase,
        process::{Device, program},
    },
};

/// Each fragment spreads the next one twice: 2^30 fields.
fn fan_out() -> String {
    let mut query = String::from("{ viewer { ...F0 } }");
    for level in 0..30 {
        let next = level + 1;
        query.push_str(&format!(
            " fragment F{level} on Viewer {{ ...F{next} ...F{next} }}"
        ));
    }
    query + " fragment F30 on Viewer { id }"
}

fn aliases() -> String {
    let fields: String = (0..1_000).map(|n| format!("a{n}: displayName ")).collect();
    format!("{{ viewer {{ {fields} }} }}")
}

/// Pages inside pages: 100 × 100 messages, each with its whole conversation.
const WIDE: &str = "{ viewer { conversations(first: 100) { nodes { messages(first: 100) { nodes { \
    conversation { messages(first: 100) { nodes { content } } } } } } } } }";

#[tokio::test]
async fn documents_that_would_cost_too_much_are_refused_over_both_transports() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "mallory");
    let mut socket = device.socket().await;
    for (limit, document) in [
        ("fields", fan_out()),
        ("aliases", aliases()),
        ("cost", WIDE.to_owned()),
        ("brackets", "{ viewer ".repeat(5_000)),
        ("tokens", "{ id ".repeat(20_000)),
        (
            "depth",
            format!(
                "{}{{ id }}{}",
                "{ viewer { lastMessage ".repeat(15),
                "}".repeat(30)
            ),
        ),
    ] {
        let answer = device.answer(&document, json!({})).await;
        assert_harmless(limit, &answer.body["errors"]);
        assert_eq!(answer.code(), "LIMIT_EXCEEDED", "{limit}: {answer:?}");
        if limit != "tokens" {
            assert_eq!(answer.error()["extensions"]["limit"], limit);
        }
        socket.subscribe("hostile", &document).await;
        let message = socket.next().await;
        assert_eq!(message["type"], "error", "{message}");
        assert_harmless(limit, &message["payload"]);
        assert_eq!(message["payload"], answer.body["errors"], "{limit}");
    }
    assert!(socket.is_alive().await);
    still_answers(&device).await;
    ends_without_a_fault(server).await;
}
