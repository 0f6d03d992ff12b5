//! One request over each of the transports, and its one answer.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use crate::{mini::Mini, support::within};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Get,
    Post,
    Events,
    Parts,
    Socket,
}

pub const TRANSPORTS: [Transport; 5] = [
    Transport::Get,
    Transport::Post,
    Transport::Events,
    Transport::Parts,
    Transport::Socket,
];

/// As Ada: `data`, `errors` and `extensions` of the one answer that there is, or of the first.
pub async fn ask(mini: &Mini, transport: Transport, request: Value) -> Value {
    match transport {
        Transport::Socket => by_socket(mini, request).await,
        _ => {
            let response = mini.send(http_request(transport, &request)).await;
            let body = axum::body::to_bytes(response.into_body(), usize::MAX);
            let body = within("an answer", body).await.expect("a body");
            let text = String::from_utf8(body.to_vec()).expect("text");
            of_body(transport, &text)
        }
    }
}

pub fn http_request(transport: Transport, request: &Value) -> Request<Body> {
    let accept = match transport {
        Transport::Events => "text/event-stream",
        Transport::Parts => "multipart/mixed;boundary=graphql;subscriptionSpec=1.0",
        _ => "application/graphql-response+json",
    };
    let (builder, body) = if transport == Transport::Get {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in request.as_object().expect("an object") {
            match value {
                Value::String(text) => pairs.append_pair(name, text),
                value => pairs.append_pair(name, &value.to_string()),
            };
        }
        let address = format!("/graphql?{}", pairs.finish());
        (Request::get(address), Body::empty())
    } else {
        let body = request.to_string();
        let builder = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len());
        (builder, Body::from(body))
    };
    builder
        .header(header::ACCEPT, accept)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(body)
        .expect("a request")
}

fn of_body(transport: Transport, text: &str) -> Value {
    let line = match transport {
        Transport::Events => text.lines().find_map(|line| line.strip_prefix("data: ")),
        Transport::Parts => text.lines().find(|line| line.starts_with("{\"payload\"")),
        _ => Some(text),
    };
    // What is refused below GraphQL is an answer of its own, whatever was accepted.
    let answer: Value = serde_json::from_str(line.unwrap_or(text))
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    match answer.get("payload") {
        Some(payload) => payload.clone(),
        None => answer,
    }
}

async fn by_socket(mini: &Mini, request: Value) -> Value {
    let mut socket = mini.open_socket().await;
    socket
        .send(json!({"type": "subscribe", "id": "1", "payload": request}))
        .await;
    let message = socket.next().await;
    match message["type"].as_str() {
        Some("error") => json!({"errors": message["payload"]}),
        _ => message["payload"].clone(),
    }
}
