//! How many sockets and streams a user may have open.

use futures_util::StreamExt;
use http::{Request, StatusCode, header};
use loquat::model::Limit;
use serde_json::json;

use super::{
    ask::{Transport, http_request},
    refused_by, with_requests,
};
use crate::{
    mini::{self, Mini, Socket},
    support::within,
};

const NEVER: &str = "subscription { never }";

async fn stream(mini: &Mini, transport: Transport) -> axum::body::BodyDataStream {
    let response = mini
        .send(http_request(transport, &json!({"query": NEVER})))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut chunks = response.into_body().into_data_stream();
    within("an opening", chunks.next())
        .await
        .expect("a chunk")
        .expect("no fault");
    chunks
}

async fn refused(mini: &Mini) {
    for transport in [Transport::Events, Transport::Parts] {
        let request = http_request(transport, &json!({"query": NEVER}));
        let response = mini.send(request).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let body = mini::json(response).await;
        refused_by(Limit::Connections, 2, &body["errors"][0]);
        assert_eq!(body["errors"][0]["extensions"]["retryAfter"], 5);
    }
    let mut socket = mini.socket().await;
    socket
        .send(json!({"type": "connection_init", "payload": {"token": "ada"}}))
        .await;
    let (code, reason) = socket.closed().await;
    // graphql-ws tries again after this code, and gives up after 4429 and most others.
    assert_eq!(code, 1013);
    assert!(reason.contains("connections: 2"), "{reason}");
    assert!(reason.contains(&Limit::Connections.documentation()) && reason.len() <= 123);
}

#[tokio::test]
async fn the_sockets_and_streams_of_a_user_count_together_and_nobody_else_s_do() {
    let mini = with_requests(|limits| limits.connections_per_user = 2);
    let socket = mini.open_socket().await;
    let events = stream(&mini, Transport::Events).await;
    refused(&mini).await;

    // What is answered at once needs no place, and another user has their own.
    let response = mini
        .send(http_request(
            Transport::Post,
            &json!({"query": "{ hello }"}),
        ))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut other: Socket = mini.socket().await;
    other.init("bob").await;
    other.hang_up().await;

    // A place is free again when its stream is gone, and when its socket is.
    drop(events);
    mini.controls.running(0).await;
    let parts = stream(&mini, Transport::Parts).await;
    refused(&mini).await;
    socket.hang_up().await;
    // The client hears of the end before the server has put everything away.
    within("the place is free", async {
        loop {
            let mut again = mini.socket().await;
            again
                .send(json!({"type": "connection_init", "payload": {"token": "ada"}}))
                .await;
            if let Some(tokio_tungstenite::tungstenite::Message::Text(_)) = again.frame().await {
                return;
            }
        }
    })
    .await;
    drop(parts);
}

#[tokio::test]
async fn a_fresh_credential_on_a_socket_takes_no_second_place() {
    let mini = with_requests(|limits| limits.connections_per_user = 1);
    let mut socket = mini.open_socket().await;
    for _ in 0..3 {
        socket
            .send(json!({"type": "ping", "payload": {"token": "ada"}}))
            .await;
        assert_eq!(socket.next().await["type"], "pong");
    }
    assert!(socket.is_alive().await);
}

#[tokio::test]
async fn who_has_not_signed_in_takes_nobody_s_place() {
    let mini = with_requests(|limits| limits.connections_per_user = 1);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(mini.socket().await);
        let request = Request::get("/graphql?query=%7B__typename%7D")
            .header(header::ACCEPT, "text/event-stream")
            .body(axum::body::Body::empty());
        let response = mini.send(request.expect("a request")).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert!(mini.open_socket().await.is_alive().await);
}
