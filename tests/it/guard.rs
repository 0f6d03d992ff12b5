//! Hostile documents through the real transports: refused, with the work bounded by a counter.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::mini::{self, Mini, code};

fn fan_out(levels: usize) -> String {
    let mut query = String::from("{ ...F0 }");
    for level in 0..levels {
        let next = level + 1;
        query.push_str(&format!(
            " fragment F{level} on Query {{ ...F{next} ...F{next} }}"
        ));
    }
    query.push_str(&format!(" fragment F{levels} on Query {{ hello }}"));
    query
}

fn hostile() -> Vec<(&'static str, String)> {
    let aliases = (0..1_000).map(|index| format!("a{index}: hello"));
    vec![
        ("fields", fan_out(30)),
        (
            "aliases",
            format!("{{ {} }}", aliases.collect::<Vec<_>>().join(" ")),
        ),
        ("brackets", "{a".repeat(100_000)),
        ("tokens", format!("{{ {} }}", "a ".repeat(100_000))),
        ("nameBytes", format!("{{ {} }}", "a".repeat(100_000))),
        (
            "directives",
            format!("{{ hello {} }}", "@skip(if: true) ".repeat(500)),
        ),
    ]
}

#[tokio::test]
async fn hostile_documents_cost_work_in_proportion_to_their_tokens_over_http() {
    for (limit, query) in hostile() {
        let mini = Mini::new();
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/graphql-response+json")
            .header(header::AUTHORIZATION, "Bearer ada")
            .body(Body::from(json!({"query": query}).to_string()))
            .expect("a request");
        let response = mini.send(request).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = mini::json(response).await;
        refused_by(&body, limit);
        assert!(mini.guard.work() < 5_000, "{limit}: {}", mini.guard.work());
        assert_eq!(mini.controls.resolved(), 0);
    }
}

#[tokio::test]
async fn hostile_documents_cost_the_same_over_a_socket_and_end_only_themselves() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for (limit, query) in hostile() {
        let before = mini.guard.work();
        socket.subscribe("1", &query).await;
        let answer = socket.next().await;
        assert_eq!(answer["type"], "error");
        refused_by(&json!({"errors": answer["payload"]}), limit);
        assert!(mini.guard.work() - before < 5_000, "{limit}");
    }
    assert!(socket.is_alive().await);
    assert_eq!(mini.controls.resolved(), 0);
}

fn refused_by(body: &Value, limit: &str) {
    assert_eq!(code(body), "LIMIT_EXCEEDED", "{body}");
    let error = &body["errors"][0];
    assert_eq!(error["extensions"]["limit"], limit);
    let value = error["extensions"]["value"].as_u64().expect("a number");
    let message = error["message"].as_str().expect("text");
    assert!(message.contains(&value.to_string()), "{message}");
}
