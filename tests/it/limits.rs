//! Every limit over every transport: the same refusal, with where it is documented, and none of
//! what is within it.

mod ask;
mod batch;
mod connections;
mod in_flight;
mod settings;
mod time;

use loquat::{
    config::{DocumentLimits, LimitSettings, RequestLimits},
    model::Limit,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use self::ask::{TRANSPORTS, ask};
use crate::mini::{Mini, code};

pub fn with_requests(change: impl FnOnce(&mut RequestLimits)) -> Mini {
    let mut limits = LimitSettings::default();
    change(&mut limits.request);
    Mini::limited(limits)
}

fn with_documents(change: impl FnOnce(&mut DocumentLimits)) -> Mini {
    let mut limits = LimitSettings::default();
    change(&mut limits.document);
    Mini::limited(limits)
}

/// The refusal says the limit, what it allows, and where to read of it.
pub fn refused_by(limit: Limit, value: u64, error: &Value) {
    let extensions = &error["extensions"];
    assert_eq!(extensions["code"], "LIMIT_EXCEEDED", "{error}");
    assert_eq!(extensions["limit"], limit.name(), "{error}");
    assert_eq!(extensions["value"], value, "{error}");
    assert_eq!(extensions["documentation"], limit.documentation());
    let message = error["message"].as_str().expect("text");
    assert!(message.contains(&value.to_string()), "{message}");
}

#[tokio::test]
async fn each_limit_of_a_document_holds_at_its_value_over_every_transport() {
    type Change = fn(&mut DocumentLimits);
    let cases: [(Limit, u64, Change, &str, &str); 7] = [
        (
            Limit::Tokens,
            5,
            |limits| limits.tokens = 5,
            "{ hello, hello hello } # counted without this",
            "{ hello hello hello hello }",
        ),
        (
            Limit::Definitions,
            2,
            |limits| limits.definitions = 2,
            "{ ...F } fragment F on Query { hello }",
            "{ ...F } fragment F on Query { ...G } fragment G on Query { hello }",
        ),
        (
            Limit::Fields,
            4,
            |limits| limits.fields = 4,
            "{ ...F ...F } fragment F on Query { hello who }",
            "{ ...F ...F hello } fragment F on Query { hello who }",
        ),
        (
            Limit::Depth,
            1,
            |limits| limits.depth = 1,
            "{ hello }",
            "{ hello { hello } }",
        ),
        (
            Limit::Aliases,
            2,
            |limits| limits.aliases = 2,
            "{ ...F ...F } fragment F on Query { a: hello }",
            "{ ...F ...F b: who } fragment F on Query { a: hello }",
        ),
        (
            Limit::Directives,
            2,
            |limits| limits.directives = 2,
            "{ hello @skip(if: false) @include(if: true) }",
            "{ hello @skip(if: false) @include(if: true) who @skip(if: true) }",
        ),
        (
            Limit::Cost,
            2,
            |limits| limits.cost = 2,
            "{ hello who }",
            "{ hello who echo(text: \"x\") }",
        ),
    ];
    for (limit, value, change, within, beyond) in cases {
        let mini = with_documents(change);
        for transport in TRANSPORTS {
            let answer = ask(&mini, transport, json!({"query": within})).await;
            assert!(answer.get("errors").is_none(), "{transport:?}: {answer}");
            let before = mini.controls.resolved();
            let answer = ask(&mini, transport, json!({"query": beyond})).await;
            let errors = answer["errors"].as_array().expect("errors");
            assert_eq!(errors.len(), 1, "{transport:?}: {answer}");
            refused_by(limit, value, &errors[0]);
            assert_eq!(
                errors[0]["extensions"].get("cost"),
                (limit == Limit::Cost).then_some(&json!(3))
            );
            assert_eq!(mini.controls.resolved(), before, "{transport:?}");
        }
    }
}

#[tokio::test]
async fn a_body_and_a_message_of_a_socket_have_the_size_that_was_chosen() {
    let mini = with_requests(|limits| limits.body_bytes = 2_000);
    for (length, is_within) in [(1_800, true), (2_001, false)] {
        let request = json!({"query": format!("{{ hello }} #{}", "x".repeat(length))});
        let answer = ask(&mini, ask::Transport::Post, request.clone()).await;
        let mut socket = mini.open_socket().await;
        let message = json!({"type": "subscribe", "id": "1", "payload": request});
        socket.try_say(Message::text(message.to_string())).await;
        if is_within {
            assert_eq!(answer["data"]["hello"], "world");
            assert_eq!(socket.next().await["type"], "next");
        } else {
            refused_by(Limit::BodyBytes, 2_000, &answer["errors"][0]);
            let (code, reason) = socket.closed().await;
            assert_eq!(code, 1009);
            assert!(reason.contains("bodyBytes: 2000"), "{reason}");
            assert!(reason.contains(&Limit::BodyBytes.documentation()));
        }
    }
}

#[tokio::test]
async fn a_socket_runs_as_many_operations_at_once_as_was_chosen() {
    let mini = with_requests(|limits| limits.socket_operations = 1);
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { never }").await;
    mini.controls.running(1).await;
    socket.subscribe("2", "{ hello }").await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("2"))
    );
    refused_by(Limit::SocketOperations, 1, &refused["payload"][0]);
    socket.send(json!({"type": "complete", "id": "1"})).await;
    socket.subscribe("2", "{ hello }").await;
    assert_eq!(socket.next().await["type"], "next");
}

#[tokio::test]
async fn the_cost_is_told_to_whoever_asks_for_it_over_every_transport_and_to_nobody_else() {
    let mini = Mini::new();
    let query = "{ a: hello ...F } fragment F on Query { who @skip(if: false) }";
    for transport in TRANSPORTS {
        let asking = json!({"query": query, "extensions": {"cost": true, "other": 1}});
        let answer = ask(&mini, transport, asking).await;
        assert_eq!(answer["data"]["who"], "ada", "{transport:?}");
        assert_eq!(
            answer["extensions"],
            json!({"cost": {
                "value": 2, "limit": 25_000,
                "tokens": {"value": 21, "limit": 10_000},
                "fields": {"value": 2, "limit": 2_000},
                "depth": {"value": 1, "limit": 20},
                "aliases": {"value": 1, "limit": 200},
                "directives": {"value": 1, "limit": 200},
            }}),
            "{transport:?}"
        );
        for extensions in [json!({}), json!({"cost": false}), json!({"cost": "true"})] {
            let asking = json!({"query": query, "extensions": extensions});
            let answer = ask(&mini, transport, asking).await;
            assert!(answer.get("extensions").is_none(), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_subscription_tells_its_cost_with_its_first_event_alone() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    let payload =
        json!({"query": "subscription { countTo(last: 2) }", "extensions": {"cost": true}});
    socket
        .send(json!({"type": "subscribe", "id": "1", "payload": payload}))
        .await;
    let first = socket.next().await;
    assert_eq!(first["payload"]["extensions"]["cost"]["value"], 1);
    let second = socket.next().await;
    assert_eq!(second["payload"], json!({"data": {"countTo": 2}}));
}

#[tokio::test]
async fn what_is_asked_of_the_cost_does_not_change_a_refusal() {
    let mini = with_documents(|limits| limits.cost = 1);
    let asking = json!({"query": "{ hello who }", "extensions": {"cost": true}});
    let answer = ask(&mini, ask::Transport::Post, asking).await;
    assert_eq!(code(&answer), "LIMIT_EXCEEDED");
    assert_eq!(answer["errors"][0]["extensions"]["cost"], 2);
    assert!(answer.get("extensions").is_none());
}
