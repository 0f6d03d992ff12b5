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

const MOST: usize = 100_000;

fn mini() -> Mini {
    with_requests(|limits| limits.in_flight_bytes = MOST)
}

/// A request that takes up some three times its padding, and 14,000.
fn padded(query: &str, bytes: usize) -> Value {
    json!({ "query": format!("{query} #{}", "x".repeat(bytes)) })
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
        refused_by(Limit::InFlightBytes, MOST as u64, &answer["errors"][0]);
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
    const MOST: usize = 30_000_000;
    let mini = with_requests(|limits| limits.in_flight_bytes = MOST);
    let mut deaf = Vec::new();
    for _ in 0..4 {
        deaf.push(mini.open_socket().await);
    }
    // The system's own buffers take some of it, and more while the server waits.
    let refused = async {
        for id in 0.. {
            for socket in &mut deaf {
                socket
                    .subscribe(&id.to_string(), "{ large(bytes: 2000000) }")
                    .await;
            }
            let answer = ask(&mini, Transport::Post, large(10)).await;
            if let Some(errors) = answer.get("errors") {
                return errors[0].clone();
            }
        }
        unreachable!("numbers do not end");
    };
    let refused = within("Ada is refused", refused).await;
    refused_by(Limit::InFlightBytes, MOST as u64, &refused);
    let answered = mini.send(of_bob(Transport::Post)).await;
    assert_eq!(answered.status(), StatusCode::OK);

    for socket in deaf {
        socket.hang_up().await;
    }
    eventually("Ada is answered", || async {
        let answer = ask(&mini, Transport::Post, large(10)).await;
        answer.get("data").map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_body_counts_before_it_has_arrived_and_one_of_unknown_length_as_the_longest() {
    let mini = with_requests(|limits| {
        limits.in_flight_bytes = MOST;
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
async fn a_request_counts_until_it_has_ended_with_what_it_is_when_it_is_read() {
    let mini = mini();
    let mut socket = mini.open_socket().await;
    let mut begin = async |id: &str, payload: Value| {
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        socket.send(message).await;
    };
    for id in ["1", "2", "3"] {
        begin(id, padded("subscription { never }", 5_000)).await;
    }
    mini.controls.running(3).await;
    begin("4", padded("subscription { never }", 5_000)).await;
    let refused = socket.next().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("4"))
    );
    refused_by(Limit::InFlightBytes, MOST as u64, &refused["payload"][0]);
    // One that has ended leaves its room to the next.
    socket.send(json!({ "type": "complete", "id": "2" })).await;
    eventually("room", || async {
        let answer = ask(&mini, Transport::Post, padded("{ hello }", 5_000)).await;
        answer.get("data").map(drop)
    })
    .await;
    socket.hang_up().await;
    mini.controls.running(0).await;

    // Short texts that are large when they are read: values, which nobody need have declared, and
    // documents.
    let brackets = format!("{}{}", "[".repeat(50), "]".repeat(50));
    let values: Value =
        serde_json::from_str(&format!("[{}{brackets}]", format!("{brackets},").repeat(9)))
            .expect("JSON");
    let many = "1 ".repeat(1_000);
    for request in [
        json!({ "query": "{ hello }", "variables": { "x": values } }),
        json!({ "query": format!("{{ hello(x: [{many}]) }}") }),
    ] {
        for transport in TRANSPORTS {
            let answer = ask(&mini, transport, request.clone()).await;
            let error = &answer["errors"][0];
            refused_by(Limit::InFlightBytes, MOST as u64, error);
            // However often it is asked.
            assert!(error["extensions"].get("retryAfter").is_none(), "{error}");
        }
    }
    assert_eq!(mini.controls.resolved(), 1);
}

#[tokio::test]
async fn the_fields_of_an_answer_count_while_it_is_put_together() {
    let fields = json!({ "query": format!("{{ {} }}", "hello ".repeat(45)) });
    // What the request takes up by itself, and some of its answer; then all of it.
    for (most, is_enough) in [(28_000, false), (34_000, true)] {
        let mini = with_requests(|limits| limits.in_flight_bytes = most);
        let answer = ask(&mini, Transport::Post, fields.clone()).await;
        assert_eq!(answer.get("data").is_some(), is_enough, "{answer}");
    }
}

#[tokio::test]
async fn a_mutation_that_outlives_its_client_counts_until_its_end() {
    let mini = mini();
    let mut socket = mini.open_socket().await;
    let payload = padded("mutation { increment }", 25_000);
    let message = json!({ "type": "subscribe", "id": "1", "payload": payload });
    socket.send(message).await;
    within("it runs", async {
        while mini.controls.resolved() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    socket.hang_up().await;
    is_full(&mini).await;
    mini.controls.open("mutation");
    mini.controls.mutations(1).await;
    eventually("room", || async {
        let answer = ask(&mini, Transport::Post, large(10)).await;
        answer.get("data").map(drop)
    })
    .await;
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
    // A stream's task may end after its body.
    eventually("all of it is there again", || async {
        let answer = ask(&mini, Transport::Post, padded("{ hello }", 27_000)).await;
        answer.get("data").map(drop)
    })
    .await;
}
