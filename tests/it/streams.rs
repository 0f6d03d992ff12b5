//! Subscriptions as server-sent events and as parts, on the transports' own small schema.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    mini::{self, Mini, code, token_for},
    support::within,
    websocket::with_timing,
};

const EVENTS: &str = "text/event-stream";
const PARTS: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,\
                     application/graphql-response+json,application/json;q=0.9";

const OPENING_OF_PARTS: &str =
    "\r\n--graphql\r\ncontent-type: application/json\r\n\r\n{}\r\n--graphql";

fn asking_as(token: &str, accept: &str, query: &str) -> Request<Body> {
    Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(json!({"query": query}).to_string().into())
        .expect("a request")
}

fn asking(accept: &str, query: &str) -> Request<Body> {
    asking_as("ada", accept, query)
}

/// A body, read chunk by chunk.
struct Reading {
    chunks: axum::body::BodyDataStream,
}

impl Reading {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            chunks: response.into_body().into_data_stream(),
        }
    }

    async fn open(mini: &Mini, accept: &str, query: &str) -> Self {
        let mut reading = Self::of(mini.send(asking(accept, query)).await);
        let opening = if accept == EVENTS {
            ":\n\n"
        } else {
            OPENING_OF_PARTS
        };
        assert_eq!(reading.next().await.as_deref(), Some(opening));
        reading
    }

    /// What comes next; `None`: it has ended.
    async fn next(&mut self) -> Option<String> {
        self.try_next().await.map(|chunk| chunk.expect("no fault"))
    }

    async fn try_next(&mut self) -> Option<Result<String, axum::Error>> {
        let chunk = within("a chunk", self.chunks.next()).await?;
        Some(chunk.map(|chunk| String::from_utf8(chunk.to_vec()).expect("text")))
    }

    async fn rest(mut self) -> String {
        let mut rest = String::new();
        while let Some(chunk) = self.next().await {
            rest += &chunk;
        }
        rest
    }

    /// Until it breaks off.
    async fn broken(mut self) {
        while let Some(chunk) = self.try_next().await {
            if chunk.is_err() {
                return;
            }
        }
        panic!("it has ended as if it were complete");
    }
}

fn event(payload: &Value) -> String {
    format!("event: next\ndata: {payload}\n\n")
}

fn part(part: &Value) -> String {
    format!("\r\ncontent-type: application/json\r\n\r\n{part}\r\n--graphql")
}

const COMPLETE: &str = "event: complete\ndata:\n\n";

#[tokio::test]
async fn a_subscription_is_answered_in_the_form_that_its_client_takes_byte_for_byte() {
    let mini = Mini::new();
    let subscription = "subscription { countTo(last: 2) }";
    let counted = |number| json!({"data": {"countTo": number}});

    let response = mini.send(asking(EVENTS, subscription)).await;
    let headers = response.headers();
    assert_eq!(
        headers[header::CONTENT_TYPE],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(headers[header::CACHE_CONTROL], "no-store, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers[header::VARY], "accept");
    assert_eq!(
        Reading::of(response).rest().await,
        [":\n\n", &event(&counted(1)), &event(&counted(2)), COMPLETE].concat()
    );

    let response = mini.send(asking(PARTS, subscription)).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0"
    );
    assert_eq!(
        Reading::of(response).rest().await,
        [
            OPENING_OF_PARTS,
            &part(&json!({"payload": counted(1)})),
            &part(&json!({"payload": counted(2)})),
            "--\r\n"
        ]
        .concat()
    );
}

#[tokio::test]
async fn an_event_source_subscribes_by_get() {
    let mini = Mini::new();
    let request = Request::get("/graphql?query=subscription%7BcountTo(last:1)%7D")
        .header(header::ACCEPT, EVENTS)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(Body::empty())
        .expect("a request");
    let rest = Reading::of(mini.send(request).await).rest().await;
    assert!(rest.ends_with(COMPLETE), "{rest}");

    let request = Request::get("/graphql?query=mutation%7Bset%7D")
        .header(header::ACCEPT, EVENTS)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(Body::empty())
        .expect("a request");
    let response = mini.send(request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(mini.controls.resolved(), 1);
}

#[tokio::test]
async fn what_is_no_subscription_is_an_event_where_nothing_else_is_taken() {
    let mini = Mini::new();
    for (query, data) in [
        ("{ hello }", json!({"hello": "world"})),
        ("mutation { set }", json!({"set": true})),
    ] {
        let reading = Reading::open(&mini, EVENTS, query).await;
        let expected = [&event(&json!({"data": data})), COMPLETE].concat();
        assert_eq!(reading.rest().await, expected);
    }
}

#[tokio::test]
async fn what_graphql_refuses_is_an_event_or_an_answer_and_what_is_refused_below_has_its_status() {
    let mini = Mini::new();
    for (accept, end) in [(EVENTS, COMPLETE), (PARTS, "--graphql--\r\n")] {
        let reading = Reading::open(&mini, accept, "subscription { nothing }").await;
        let rest = reading.rest().await;
        assert!(rest.contains("GRAPHQL_VALIDATION_FAILED"), "{rest}");
        assert!(rest.ends_with(end), "{rest}");
    }
    let reading = Reading::open(&mini, EVENTS, "subscription {").await;
    let rest = reading.rest().await;
    assert!(rest.contains("GRAPHQL_PARSE_FAILED"), "{rest}");
    assert!(rest.ends_with(COMPLETE), "{rest}");
    // Who takes a single answer as well has it as one.
    let response = mini.send(asking(PARTS, "subscription {")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(code(&mini::json(response).await), "GRAPHQL_PARSE_FAILED");

    for accept in [EVENTS, PARTS] {
        for (token, status) in [
            ("refused", StatusCode::UNAUTHORIZED),
            ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let response = mini
                .send(asking_as(token, accept, "subscription { never }"))
                .await;
            assert_eq!(response.status(), status);
            assert!(mini::json(response).await["errors"].is_array());
        }
    }
}

#[tokio::test]
async fn a_subscription_whose_client_takes_no_stream_is_told_what_to_accept() {
    let mini = Mini::new();
    for accept in ["application/json", "multipart/mixed, application/json"] {
        let response = mini.send(asking(accept, "subscription { never }")).await;
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
        let body = mini::json(response).await;
        let message = body["errors"][0]["message"].as_str().expect("text");
        assert!(message.contains("text/event-stream") && message.contains("WebSocket"));
        assert_eq!(code(&body), "BAD_USER_INPUT");
    }
    mini.controls.running(0).await;
}

#[tokio::test]
async fn what_fails_while_it_runs_is_an_event_and_what_panics_ends_with_one() {
    let mini = Mini::new();
    let rest = Reading::open(&mini, EVENTS, "subscription { stumbles { number odd } }")
        .await
        .rest()
        .await;
    assert!(rest.contains(r#""code":"NOT_FOUND""#), "{rest}");
    assert!(
        rest.ends_with(
            &[
                &event(&json!({"data": {"stumbles": {"number": 2, "odd": null}}})),
                COMPLETE
            ]
            .concat()
        ),
        "{rest}"
    );

    for (query, code) in [
        ("subscription { refuses }", "NOT_FOUND"),
        ("subscription { panics }", "INTERNAL_SERVER_ERROR"),
        ("query { panics }", "INTERNAL_SERVER_ERROR"),
    ] {
        let rest = Reading::open(&mini, EVENTS, query).await.rest().await;
        assert!(rest.contains(code), "{query}: {rest}");
        assert!(rest.ends_with(COMPLETE), "{query}: {rest}");
        assert!(!rest.contains("on purpose"), "{query}: {rest}");
    }
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat() {
    let mini = with_timing(|timing| timing.ping = Duration::from_millis(50));
    for (accept, heartbeat) in [(EVENTS, ":\n\n".to_owned()), (PARTS, part(&json!({})))] {
        let mut reading = Reading::open(&mini, accept, "subscription { never }").await;
        for _ in 0..3 {
            assert_eq!(reading.next().await, Some(heartbeat.clone()));
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let mini = Mini::new();
    for accept in [EVENTS, PARTS] {
        let reading = Reading::open(&mini, accept, "subscription { never }").await;
        mini.controls.running(1).await;
        drop(reading);
        mini.controls.running(0).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_subscription_back_and_is_cut() {
    let mini = with_timing(|timing| timing.send = Duration::from_millis(500));
    let reading = Reading::open(&mini, EVENTS, "subscription { flood(bytes: 1000) }").await;
    mini.controls.running(1).await;
    mini.controls.running(0).await;
    // What waited for it is all that there was.
    assert!(
        mini.controls.produced() < 100,
        "{}",
        mini.controls.produced()
    );
    reading.broken().await;
}

/// What a stream says that is interrupted: nothing more, or why.
async fn interrupted(mut reading: Reading, accept: &str) -> Option<Value> {
    if accept == EVENTS {
        reading.broken().await;
        return None;
    }
    let last = reading.next().await.expect("the last part");
    let json = last
        .strip_prefix("\r\ncontent-type: application/json\r\n\r\n")
        .and_then(|rest| rest.strip_suffix("\r\n--graphql--\r\n"))
        .expect("the last part");
    assert_eq!(reading.next().await, None);
    let part: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(part["payload"], Value::Null);
    Some(part)
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does_and_says_so_where_it_can() {
    for accept in [EVENTS, PARTS] {
        let mini = Mini::new();
        let token = token_for("ada", Duration::from_millis(300));
        let request = asking_as(&token, accept, "subscription { never }");
        let mut reading = Reading::of(mini.send(request).await);
        reading.next().await.expect("an opening");
        if let Some(part) = interrupted(reading, accept).await {
            assert_eq!(code(&part), "UNAUTHENTICATED");
        }

        let reading = Reading::open(&mini, accept, "subscription { never }").await;
        mini.controls.running(1).await;
        mini.controls.open("end of ada");
        if let Some(part) = interrupted(reading, accept).await {
            assert_eq!(code(&part), "UNAUTHENTICATED");
        }
        mini.controls.running(0).await;
    }
}

#[tokio::test]
async fn a_soft_stop_lets_streams_go_on_and_a_hard_stop_ends_them() {
    let mini = Mini::new();
    let mut readings = Vec::new();
    for accept in [EVENTS, PARTS] {
        readings.push((
            accept,
            Reading::open(&mini, accept, "subscription { ticks }").await,
        ));
    }
    mini.controls.running(2).await;
    mini.lifecycle.begin_soft_stop();
    mini.controls.tick(5);
    for (_, reading) in &mut readings {
        let next = reading.next().await.expect("an event");
        assert!(next.contains(r#"{"ticks":5}"#), "{next}");
    }
    let response = mini.send(asking(EVENTS, "subscription { ticks }")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);

    mini.lifecycle.begin_hard_stop();
    for (accept, reading) in readings {
        if let Some(part) = interrupted(reading, accept).await {
            assert_eq!(code(&part), "UNAVAILABLE");
            assert!(part["errors"][0]["extensions"]["retryAfter"].is_u64());
        }
    }
    within("every task ends", mini.lifecycle.finished()).await;
}

#[tokio::test]
async fn a_process_settles_once_its_streams_have_nothing_more_to_say() {
    let mini = Mini::new();
    let reading = Reading::open(&mini, EVENTS, "subscription { never }").await;
    mini.controls.running(1).await;
    mini.lifecycle.begin_soft_stop();
    let mut settled = std::pin::pin!(mini.lifecycle.settled());
    assert!(futures_util::poll!(&mut settled).is_pending());
    drop(reading);
    within("nothing is awaited", settled).await;
}
