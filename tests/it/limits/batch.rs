//! Lists of operations in one body.

use axum::body::Body;
use http::{Request, StatusCode, header};
use loquat::{config::LimitSettings, model::Limit};
use serde_json::{Value, json};

use super::{refused_by, with_requests};
use crate::mini::{self, Mini, code};

const GRAPHQL: &str = "application/graphql-response+json";

async fn send(mini: &Mini, accept: &str, token: Option<&str>, body: &Value) -> (StatusCode, Value) {
    let mut request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_string()));
    let response = mini.send(request.expect("a request")).await;
    let status = response.status();
    (status, mini::json(response).await)
}

async fn ask(mini: &Mini, body: &Value) -> (StatusCode, Value) {
    send(mini, GRAPHQL, Some("ada"), body).await
}

fn of(queries: &[&str]) -> Value {
    queries
        .iter()
        .map(|query| json!({"query": query}))
        .collect()
}

#[tokio::test]
async fn a_batch_is_refused_unless_it_is_allowed_and_no_longer_than_it_may_be() {
    let mini = Mini::new();
    for batch in [of(&["{ hello }"]), of(&["{ hello }", "{ who }"])] {
        let (status, body) = ask(&mini, &batch).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        refused_by(Limit::Batch, 1, &body["errors"][0]);
    }
    let mini = with_requests(|limits| limits.batch = 2);
    let (status, body) = ask(&mini, &of(&["{ hello }"; 3])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    refused_by(Limit::Batch, 2, &body["errors"][0]);
    let (status, body) = ask(&mini, &json!([])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(code(&body), "BAD_USER_INPUT");
    assert_eq!(mini.controls.resolved(), 0);
}

#[tokio::test]
async fn each_operation_of_a_batch_is_judged_alone_and_answered_in_its_place() {
    let mini = with_requests(|limits| limits.batch = 10);
    let batch = json!([
        {"query": "query ($t: String!) { echo(text: $t) }", "variables": {"t": "one"}},
        {"query": "{ nothing }"},
        {"query": "{ hello"},
        7,
        {"query": "subscription { countTo(last: 1) }"},
        {"query": "{ panics }"},
        {"query": "{ who }", "extensions": {"cost": true}},
    ]);
    let (status, body) = ask(&mini, &batch).await;
    assert_eq!(status, StatusCode::OK);
    let answers = body.as_array().expect("a list");
    assert_eq!(answers.len(), 7);
    assert_eq!(answers[0], json!({"data": {"echo": "one"}}));
    for (index, expected) in [
        (1, "GRAPHQL_VALIDATION_FAILED"),
        (2, "GRAPHQL_PARSE_FAILED"),
        (3, "BAD_USER_INPUT"),
        (4, "BAD_USER_INPUT"),
        (5, "INTERNAL_SERVER_ERROR"),
    ] {
        assert_eq!(code(&answers[index]), expected, "{index}");
    }
    assert_eq!(answers[6]["data"]["who"], "ada");
    assert_eq!(answers[6]["extensions"]["cost"]["value"], 1);
}

#[tokio::test]
async fn the_mutations_of_a_batch_run_one_after_another() {
    let mini = with_requests(|limits| limits.batch = 3);
    mini.controls.open("mutation");
    let increment = "mutation { increment }";
    let (status, body) = ask(&mini, &of(&[increment, increment, increment])).await;
    assert_eq!(status, StatusCode::OK);
    let number = |answer: &Value| answer["data"]["increment"].as_u64();
    let numbers: Vec<_> = body
        .as_array()
        .expect("a list")
        .iter()
        .map(number)
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
}

#[tokio::test]
async fn a_batch_has_the_cost_of_its_operations_together() {
    let mut limits = LimitSettings::default();
    limits.request.batch = 10;
    limits.document.cost = 3;
    let mini = Mini::limited(limits);
    let (status, _) = ask(&mini, &of(&["{ hello who }", "{ hello }"])).await;
    assert_eq!(status, StatusCode::OK);
    let before = mini.controls.resolved();
    let (status, body) = ask(&mini, &of(&["{ hello who }", "{ hello who }"])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for answer in [&body[0], &body[1]] {
        refused_by(Limit::Cost, 3, &answer["errors"][0]);
        assert_eq!(answer["errors"][0]["extensions"]["cost"], 4);
    }
    assert_eq!(mini.controls.resolved(), before);
}

#[tokio::test]
async fn what_all_operations_of_a_batch_are_refused_for_is_its_status() {
    let mini = with_requests(|limits| limits.batch = 2);
    let two = of(&["{ hello }", "{ who }"]);
    let (status, body) = send(&mini, GRAPHQL, None, &two).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(code(&body[0]), "UNAUTHENTICATED");
    assert_eq!(code(&body[1]), "UNAUTHENTICATED");
    let (status, body) = send(&mini, GRAPHQL, None, &of(&["{ hello }", "{ __typename }"])).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body[1]["data"]["__typename"], "Query");
    for (accept, expected) in [
        (GRAPHQL, StatusCode::BAD_REQUEST),
        ("application/json", StatusCode::OK),
    ] {
        let (status, _) = send(&mini, accept, Some("ada"), &of(&["{", "{"])).await;
        assert_eq!(status, expected, "{accept}");
    }
    let (status, _) = send(&mini, "text/event-stream", Some("ada"), &two).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_batch_begins_nothing_more_after_as_much_text_as_one_answer_may_hold() {
    let mini = with_requests(|limits| limits.batch = 4);
    let large = "{ large(bytes: 9000000) }";
    let (status, body) = ask(&mini, &of(&[large, large, "{ hello }", "mutation { set }"])).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body[1]["data"]["large"].is_string());
    for answer in [&body[2], &body[3]] {
        refused_by(
            Limit::AnswerBytes,
            16 << 20,
            &json!({
                "message": format!("{} ({})", answer["errors"][0]["message"], 16 << 20),
                "extensions": answer["errors"][0]["extensions"],
            }),
        );
    }
    assert_eq!(mini.controls.resolved(), 0);
}
