//! How much a user may have under way.

use axum::body::Body;
use futures_util::{FutureExt, StreamExt};
use http::{Request, StatusCode, header};
use loquat::model::Limit;
use serde_json::{Value, json};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    ask::{TRANSPORTS, Transport, ask, http_request},
    refused_by, with_requests,
};
use crate::{
    mini::{self, Mini},
    support::{eventually, within},
};

const MOST: u64 = 100_000;

fn mini() -> Mini {
    with_requests(|limits| limits.in_flight_bytes = 100_000)
}

fn large(bytes: usize) -> Value {
    json!({ "query": format!("{{ large(bytes: {bytes}) }}") })
}

fn of_bob(transport: Transport) -> Request<Body> {
    let mut request = http_request(transport, &large(10));
    let bob = header::HeaderValue::from_static("Bearer bob");
    request.headers_mut().insert(header::AUTHORIZATION, bob);
    request
}

/// Ada is refused over every transport, and nobody else is.
async fn is_full(mini: &Mini) {
    for transport in TRANSPORTS {
        let answer = ask(mini, transport, large(10)).await;
        refused_by(Limit::InFlightBytes, MOST, &answer["errors"][0]);
        assert_eq!(answer["errors"][0]["extensions"]["retryAfter"], 1);
    }
    for transport in [Transport::Post, Transport::Events] {
        let refused = mini.send(http_request(transport, &large(10))).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        let answered = mini.send(of_bob(transport)).await;
        assert_eq!(answered.status(), StatusCode::OK);
    }
}

async fn is_answered(mini: &Mini) {
    for transport in TRANSPORTS {
        let answer = ask(mini, transport, large(10)).await;
        assert_eq!(answer["data"]["large"], "xxxxxxxxxx", "{transport:?}");
    }
}

#[tokio::test]
async fn an_answer_counts_until_it_has_been_taken() {
    let mini = mini();
    let unread = mini
        .send(http_request(Transport::Post, &large(95_000)))
        .await;
    is_full(&mini).await;
    drop(unread);
    is_answered(&mini).await;

    // A stream's, too.
    let response = mini
        .send(http_request(Transport::Events, &large(95_000)))
        .await;
    let mut unread = response.into_body().into_data_stream();
    let opening = within("an opening", unread.next()).await.expect("a chunk");
    assert!(opening.expect("no fault").len() < 100);
    let event = within("the event", unread.next()).await.expect("a chunk");
    assert!(event.expect("no fault").len() > 95_000);
    is_full(&mini).await;
    while within("the end", unread.next()).await.is_some() {}
    drop(unread);
    is_answered(&mini).await;
}

#[tokio::test]
async fn what_a_socket_does_not_take_counts_as_its_user_s() {
    let mini = with_requests(|limits| limits.in_flight_bytes = 30_000_000);
    let mut deaf = mini.open_socket().await;
    for id in 0..30 {
        let id = id.to_string();
        deaf.subscribe(&id, "{ large(bytes: 2000000) }").await;
    }
    // More than the system's own buffers take.
    let other = mini.open_socket().await;
    let refusal = eventually("Ada is refused", || async {
        let answer = ask(&mini, Transport::Post, large(10)).await;
        answer.get("errors").map(|errors| errors[0].clone())
    })
    .await;
    refused_by(Limit::InFlightBytes, 30_000_000, &refusal);
    assert_eq!(mini.send(of_bob(Transport::Post)).await.status(), 200);

    deaf.hang_up().await;
    eventually("Ada is answered", || async {
        let answer = ask(&mini, Transport::Post, large(10)).await;
        answer.get("data").map(drop)
    })
    .await;
    other.hang_up().await;
}

#[tokio::test]
async fn a_body_counts_before_it_has_arrived_and_one_of_unknown_length_as_the_longest() {
    let mini = with_requests(|limits| {
        limits.in_flight_bytes = 100_000;
        limits.body_bytes = 90_000;
    });
    for announced in [Some(85_000), None] {
        let (client, body) = tokio::sync::mpsc::unbounded_channel::<Result<_, String>>();
        let mut request = http_request(Transport::Post, &large(10));
        let headers = request.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        if let Some(length) = announced {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        let body = Body::from_stream(UnboundedReceiverStream::new(body));
        let mut arriving = Box::pin(mini.send(request.map(|_| body)));
        assert!((&mut arriving).now_or_never().is_none());
        is_full(&mini).await;
        client
            .send(Ok(large(10).to_string()))
            .expect("somebody reads");
        drop(client);
        let response = within("an answer", arriving).await;
        assert_eq!(mini::json(response).await["data"]["large"], "xxxxxxxxxx");
        is_answered(&mini).await;
    }
}

#[tokio::test]
async fn what_runs_counts_with_the_request_and_the_fields_that_it_may_answer() {
    let mini = mini();
    // A fifth of what Ada may have, in the text alone.
    let long = format!("subscription {{ never }} #{}", "x".repeat(20_000));
    let mut socket = mini.open_socket().await;
    for id in ["1", "2", "3"] {
        socket.subscribe(id, &long).await;
    }
    mini.controls.running(3).await;
    socket.subscribe("4", &long).await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("4"))
    );
    refused_by(Limit::InFlightBytes, MOST, &refused["payload"][0]);
    // One that has ended leaves its room, and its id, to the next.
    socket.send(json!({ "type": "complete", "id": "2" })).await;
    mini.controls.running(2).await;
    eventually("room", || async {
        let answer = ask(&mini, Transport::Post, large(10)).await;
        answer.get("data").map(drop)
    })
    .await;
    socket.subscribe("4", &long).await;
    mini.controls.running(3).await;

    // Each field takes room while the answer is put together.
    let fields: String = (0..45).map(|index| format!(" a{index}: hello")).collect();
    let other = with_requests(|limits| limits.in_flight_bytes = 12_000);
    let answer = ask(
        &other,
        Transport::Post,
        json!({ "query": format!("{{{fields} }}") }),
    )
    .await;
    refused_by(Limit::InFlightBytes, 12_000, &answer["errors"][0]);
    assert_eq!(other.controls.resolved(), 0);
}

#[tokio::test]
async fn nothing_is_left_behind_by_what_has_ended() {
    let mini = mini();
    for _ in 0..20 {
        for transport in TRANSPORTS {
            for query in [
                json!({ "query": "{ large(bytes: 30000) }" }),
                json!({ "query": "{ nothing }" }),
                json!({ "query": "{ panics }" }),
                json!({ "query": "{ fails failsHard }" }),
            ] {
                ask(&mini, transport, query).await;
            }
        }
    }
    let nearly_all = large(95_000 - 8_192);
    let answer = ask(&mini, Transport::Post, nearly_all).await;
    assert!(answer.get("errors").is_none());
}
