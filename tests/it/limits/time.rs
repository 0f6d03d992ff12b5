//! How long a request may take.

use std::time::Duration;

use http::StatusCode;
use loquat::model::Limit;
use serde_json::json;

use super::{
    ask::{TRANSPORTS, Transport, ask, http_request},
    refused_by, with_requests,
};
use crate::mini;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_query_that_takes_too_long_is_stopped_over_every_transport() {
    let mini = with_requests(|limits| limits.time = SECOND);
    for transport in TRANSPORTS {
        let query = json!({"query": "{ gate(name: \"shut\") }"});
        let answer = ask(&mini, transport, query).await;
        refused_by(Limit::RequestSeconds, 1, &answer["errors"][0]);
        assert!(answer.get("data").is_none(), "{transport:?}: {answer}");
        let message = answer["errors"][0]["message"].as_str().expect("text");
        assert!(message.contains("stopped"), "{message}");
    }
    let response = mini
        .send(http_request(
            Transport::Post,
            &json!({"query": "{ gate(name: \"shut\") }"}),
        ))
        .await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_mutation_that_takes_too_long_is_answered_and_goes_on() {
    let mini = with_requests(|limits| limits.time = SECOND);
    let mutation = json!({"query": "mutation { increment }"});
    for transport in [Transport::Post, Transport::Events, Transport::Socket] {
        let answer = ask(&mini, transport, mutation.clone()).await;
        refused_by(Limit::RequestSeconds, 1, &answer["errors"][0]);
        let message = answer["errors"][0]["message"].as_str().expect("text");
        assert!(message.contains("goes on"), "{message}");
    }
    mini.controls.open("mutation");
    mini.controls.mutations(3).await;
}

#[tokio::test]
async fn a_subscription_may_take_as_long_as_it_likes() {
    let mini = with_requests(|limits| limits.time = Duration::ZERO);
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { ticks }").await;
    mini.controls.running(1).await;
    mini.controls.tick(1);
    assert_eq!(socket.next().await["payload"]["data"]["ticks"], 1);
}

#[tokio::test]
async fn a_batch_has_the_time_of_one_request_and_begins_no_mutation_after_it() {
    let mini = with_requests(|limits| {
        limits.time = SECOND;
        limits.batch = 3;
    });
    let batch = json!([
        {"query": "{ hello }"},
        {"query": "mutation { increment }"},
        {"query": "mutation { set }"},
    ]);
    let response = mini.send(http_request(Transport::Post, &batch)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answers = mini::json(response).await;
    assert_eq!(answers[0]["data"]["hello"], "world");
    for (index, word) in [(1, "goes on"), (2, "before this operation was begun")] {
        let error = &answers[index]["errors"][0];
        refused_by(Limit::RequestSeconds, 1, error);
        assert!(
            error["message"].as_str().expect("text").contains(word),
            "{error}"
        );
    }
    mini.controls.open("mutation");
    mini.controls.mutations(1).await;
    // `hello` and `increment`, and not `set`.
    assert_eq!(mini.controls.resolved(), 2);
}
