//! Operations: their messages, their ids, their number, and that none harms another.

use serde_json::{Value, json};

use super::{complete, next};
use crate::mini::{Mini, code};

#[tokio::test]
async fn queries_mutations_and_subscriptions_run_over_a_socket() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("q", "{ hello }").await;
    assert_eq!(socket.next().await, next("q", json!({"hello": "world"})));
    assert_eq!(socket.next().await, complete("q"));

    mini.controls.open("mutation");
    socket.subscribe("m", "mutation { increment }").await;
    assert_eq!(socket.next().await, next("m", json!({"increment": 1})));
    assert_eq!(socket.next().await, complete("m"));

    socket
        .send(json!({"type": "subscribe", "id": "s", "payload": {
            "query": "subscription A($n: Int!) { countTo(last: $n) } query B { hello }",
            "operationName": "A", "variables": {"n": 2}, "extensions": {"x": 1},
        }}))
        .await;
    assert_eq!(socket.next().await, next("s", json!({"countTo": 1})));
    assert_eq!(socket.next().await, next("s", json!({"countTo": 2})));
    assert_eq!(socket.next().await, complete("s"));

    socket
        .send(json!({"type": "subscribe", "id": "n", "payload": {
            "query": "{ hello }", "operationName": null, "variables": null, "extensions": null,
        }}))
        .await;
    assert_eq!(socket.next().await, next("n", json!({"hello": "world"})));
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_that_ends_the_operation_alone() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for (query, expected) in [
        ("{ hello", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticks never }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($t: String!) { echo(text: $t) }", "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", "BAD_USER_INPUT"),
    ] {
        // The id is free again as soon as the error is there, and no complete follows it.
        socket.subscribe("1", query).await;
        let answer = socket.next().await;
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["id"], "1");
        assert_eq!(code(&json!({"errors": answer["payload"]})), expected);
    }
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.next().await, next("1", json!({"hello": "world"})));
}

#[tokio::test]
async fn what_fails_while_it_runs_is_a_next_with_errors() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "{ hello fails }").await;
    let answer = socket.next().await;
    assert_eq!(answer["type"], "next");
    assert_eq!(
        answer["payload"]["data"],
        json!({"hello": "world", "fails": null})
    );
    assert_eq!(code(&answer["payload"]), "NOT_FOUND");
    assert_eq!(socket.next().await, complete("1"));

    socket
        .subscribe("2", "subscription { stumbles { number odd } }")
        .await;
    let first = socket.next().await;
    assert_eq!(
        first["payload"]["data"]["stumbles"],
        json!({"number": 1, "odd": null})
    );
    assert_eq!(code(&first["payload"]), "NOT_FOUND");
    let second = socket.next().await;
    assert_eq!(
        second,
        next("2", json!({"stumbles": {"number": 2, "odd": null}}))
    );
    assert_eq!(socket.next().await, complete("2"));

    socket.subscribe("3", "subscription { refuses }").await;
    let answer = socket.next().await;
    assert_eq!(answer["type"], "next");
    assert_eq!(answer["payload"]["data"], Value::Null);
    assert_eq!(code(&answer["payload"]), "NOT_FOUND");
    assert_eq!(socket.next().await, complete("3"));
}

#[tokio::test]
async fn a_panic_ends_its_operation_and_nothing_else() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("ticks", "subscription { ticks }").await;
    mini.controls.running(1).await;

    socket.subscribe("q", "{ panics }").await;
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("q"))
    );
    let error = &answer["payload"][0];
    assert_eq!(error["extensions"]["code"], "INTERNAL_SERVER_ERROR");
    assert!(error["extensions"]["requestId"].is_string());
    assert!(!answer.to_string().contains("on purpose"));

    socket.subscribe("s", "subscription { panics }").await;
    assert_eq!(socket.next().await, next("s", json!({"panics": 1})));
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("s"))
    );

    mini.controls.tick(7);
    assert_eq!(socket.next().await, next("ticks", json!({"ticks": 7})));
}

#[tokio::test]
async fn a_complete_ends_the_operation_at_once_and_frees_its_id() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for query in ["subscription { ticks }", "subscription { never }"] {
        socket.subscribe("1", query).await;
        mini.controls.running(1).await;
        socket.send(complete("1")).await;
        mini.controls.running(0).await;
    }
    socket.subscribe("1", "{ gate(name: \"shut\") }").await;
    socket.send(complete("1")).await;
    // One that ended long ago, and one that never was.
    socket.send(complete("1")).await;
    socket.send(complete("other")).await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.next().await, next("1", json!({"hello": "world"})));
    assert_eq!(socket.next().await, complete("1"));
}

#[tokio::test]
async fn an_id_in_use_is_closed_with_4409() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    let id = "ü".repeat(100);
    socket.subscribe(&id, "subscription { never }").await;
    mini.controls.running(1).await;
    socket.subscribe(&id, "{ hello }").await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4409);
    assert!(reason.starts_with("Subscriber for ü") && reason.len() <= 123);
    mini.controls.running(0).await;
}

#[tokio::test]
async fn an_id_may_be_used_again_as_soon_as_its_complete_is_there() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for _ in 0..200 {
        socket.subscribe("1", "{ hello }").await;
        assert_eq!(socket.next().await["type"], "next");
        assert_eq!(socket.next().await, complete("1"));
    }
}

#[tokio::test]
async fn an_id_used_again_never_gets_what_was_meant_for_its_predecessor() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for round in 0..50 {
        socket
            .subscribe("1", "subscription { flood(bytes: 10) }")
            .await;
        assert_eq!(socket.next().await["type"], "next");
        socket.send(complete("1")).await;
        socket
            .subscribe("1", &format!("{{ echo(text: \"{round}\") }}"))
            .await;
        let mut answer = socket.next().await;
        while answer["payload"]["data"]["flood"].is_string() {
            answer = socket.next().await;
        }
        assert_eq!(answer, next("1", json!({"echo": round.to_string()})));
        assert_eq!(socket.next().await, complete("1"));
    }
}

#[tokio::test]
async fn a_socket_runs_a_hundred_operations_and_refuses_the_next_alone() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for id in 0..100 {
        socket
            .subscribe(&id.to_string(), "subscription { never }")
            .await;
    }
    mini.controls.running(100).await;
    socket.subscribe("more", "{ hello }").await;
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("more"))
    );
    assert_eq!(answer["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
    assert_eq!(answer["payload"][0]["extensions"]["value"], 100);
    socket.send(complete("7")).await;
    socket.subscribe("more", "{ hello }").await;
    assert_eq!(socket.next().await, next("more", json!({"hello": "world"})));
}

#[tokio::test]
async fn one_that_always_has_more_starves_no_other() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("flood", "subscription { flood(bytes: 10) }")
        .await;
    socket.subscribe("ticks", "subscription { ticks }").await;
    mini.controls.running(2).await;
    mini.controls.tick(1);
    socket.subscribe("query", "{ hello }").await;
    let mut waiting = vec!["ticks", "query"];
    for _ in 0..100_000 {
        let answer = socket.next().await;
        waiting.retain(|id| answer["id"] != *id);
        if waiting.is_empty() {
            return;
        }
    }
    panic!("{waiting:?} did not get a word in");
}
