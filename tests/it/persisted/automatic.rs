//! Automatic persisted queries, by every transport of the small schema.

use axum::body::Body;
use http::{Request, StatusCode, header};
use loquat::config::AdmittedDocuments;
use serde_json::{Value, json};

use super::{NOT_FOUND, admitting, by_hash, hash, named, refused, with_hash};
use crate::{
    mini::{self, Mini, code},
    websocket::{complete, next},
};

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";
const EVENTS: &str = "text/event-stream";
const PARTS: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0";

fn post_as(user: Option<&str>, accept: &str, body: &Value) -> Request<Body> {
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, JSON)
        .header(header::ACCEPT, accept);
    let request = match user {
        Some(user) => request.header(header::AUTHORIZATION, format!("Bearer {user}")),
        None => request,
    };
    request.body(body.to_string().into()).expect("a request")
}

fn get(accept: &str, body: &Value) -> Request<Body> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in body.as_object().expect("members") {
        match value {
            Value::String(text) => query.append_pair(name, text),
            value => query.append_pair(name, &value.to_string()),
        };
    }
    Request::get(format!("/graphql?{}", query.finish()))
        .header(header::ACCEPT, accept)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(Body::empty())
        .expect("a request")
}

async fn answer(mini: &Mini, request: Request<Body>) -> (StatusCode, Value) {
    let response = mini.send(request).await;
    (response.status(), mini::json(response).await)
}

async fn text(mini: &Mini, request: Request<Body>) -> String {
    let body = mini.send(request).await.into_body();
    let body = axum::body::to_bytes(body, usize::MAX).await;
    String::from_utf8(body.expect("a body").to_vec()).expect("text")
}

/// Asks Ada's question by POST.
async fn ask(mini: &Mini, body: &Value) -> Value {
    answer(mini, post_as(Some("ada"), GRAPHQL, body)).await.1
}

#[tokio::test]
async fn a_document_that_was_sent_once_is_asked_for_by_its_hash_by_get_and_by_post() {
    let mini = Mini::new();
    let document = "query ($t: String!) { echo(text: $t) }";
    let variables = json!({"t": "ü"});
    let with = |mut body: Value| {
        body["variables"] = variables.clone();
        body
    };
    // Clients look for the error in an answer of either status: by the draft it depends on the type.
    for (accept, status) in [(GRAPHQL, StatusCode::BAD_REQUEST), (JSON, StatusCode::OK)] {
        for request in [
            get(accept, &with(by_hash(document))),
            post_as(Some("ada"), accept, &with(by_hash(document))),
        ] {
            let (found, body) = answer(&mini, request).await;
            assert_eq!((found, refused(&body)), (status, NOT_FOUND), "{accept}");
        }
    }
    let expected = json!({"data": {"echo": "ü"}});
    assert_eq!(ask(&mini, &with(with_hash(document))).await, expected);
    for request in [
        get(GRAPHQL, &with(by_hash(document))),
        post_as(Some("ada"), JSON, &with(by_hash(document))),
        // Whoever else has signed in.
        post_as(Some("bob"), GRAPHQL, &with(by_hash(document))),
    ] {
        assert_eq!(
            answer(&mini, request).await,
            (StatusCode::OK, expected.clone())
        );
    }
    // Upper case means the same.
    let upper = with(json!({"extensions": named(&hash(document).to_uppercase())}));
    assert_eq!(ask(&mini, &upper).await, expected);
}

#[tokio::test]
async fn a_document_may_be_registered_by_get_and_a_mutation_still_needs_a_post() {
    let mini = Mini::new();
    let (status, _) = answer(&mini, get(GRAPHQL, &with_hash("{ hello }"))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        ask(&mini, &by_hash("{ hello }")).await["data"]["hello"],
        "world"
    );

    let mutation = "mutation { increment }";
    mini.controls.open("mutation");
    assert_eq!(
        ask(&mini, &with_hash(mutation)).await["data"]["increment"],
        1
    );
    let (status, _) = answer(&mini, get(GRAPHQL, &by_hash(mutation))).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    mini.controls.open("mutation");
    assert_eq!(ask(&mini, &by_hash(mutation)).await["data"]["increment"], 2);
}

#[tokio::test]
async fn a_socket_names_documents_too() {
    let mini = Mini::new();
    let document = "subscription ($n: Int!) { countTo(last: $n) }";
    let mut socket = mini.open_socket().await;
    let subscribe = |id: &str, mut payload: Value| {
        payload["variables"] = json!({"n": 2});
        json!({"type": "subscribe", "id": id, "payload": payload})
    };
    socket.send(subscribe("1", by_hash(document))).await;
    let error = socket.next().await;
    assert_eq!(
        (&error["type"], &error["id"]),
        (&json!("error"), &json!("1"))
    );
    assert_eq!(refused(&json!({"errors": error["payload"]})), NOT_FOUND);
    for payload in [with_hash(document), by_hash(document)] {
        // The id is free again.
        socket.send(subscribe("1", payload)).await;
        assert_eq!(socket.next().await, next("1", json!({"countTo": 1})));
        assert_eq!(socket.next().await, next("1", json!({"countTo": 2})));
        assert_eq!(socket.next().await, complete("1"));
    }
}

#[tokio::test]
async fn a_stream_names_documents_too() {
    for accept in [EVENTS, PARTS] {
        let mini = Mini::new();
        let document = "subscription { countTo(last: 2) }";
        let stream = async |body: Value| text(&mini, post_as(Some("ada"), accept, &body)).await;
        let unknown = stream(by_hash(document)).await;
        assert!(
            unknown.contains(r#""message":"PersistedQueryNotFound""#),
            "{unknown}"
        );
        for body in [with_hash(document), by_hash(document)] {
            let events = stream(body).await;
            assert!(events.contains(r#"{"data":{"countTo":2}}"#), "{events}");
        }
        let events = text(&mini, get(accept, &by_hash(document))).await;
        assert!(events.contains(r#"{"data":{"countTo":2}}"#), "{events}");
    }
}

#[tokio::test]
async fn a_hash_that_is_not_the_document_s_is_refused_and_nothing_is_stored() {
    let mini = Mini::new();
    let other = hash("{ who }");
    let wrong = json!({"query": "{ hello }", "extensions": named(&other)});
    for (accept, expected) in [(GRAPHQL, StatusCode::BAD_REQUEST), (JSON, StatusCode::OK)] {
        let (status, body) = answer(&mini, post_as(Some("ada"), accept, &wrong)).await;
        assert_eq!(status, expected);
        let (message, code) = refused(&body);
        assert!(
            message.contains("sha256Hash is not the SHA-256"),
            "{message}"
        );
        assert_eq!(code, "BAD_USER_INPUT");
        assert_eq!(
            body["errors"][0]["extensions"]["argument"],
            "extensions.persistedQuery.sha256Hash"
        );
    }
    assert_eq!(mini.controls.resolved(), 0);
    for text in ["{ who }", "{ hello }"] {
        assert_eq!(refused(&ask(&mini, &by_hash(text)).await), NOT_FOUND);
    }
}

#[tokio::test]
async fn what_is_not_the_protocol_is_said_clearly() {
    let mini = Mini::new();
    let digest = hash("{ hello }");
    for (said, expected) in [
        (json!("hush"), "extensions.persistedQuery must be an object"),
        (json!({"sha256Hash": digest}), "version must be 1"),
        (
            json!({"version": "1", "sha256Hash": digest}),
            "version must be 1",
        ),
        (
            json!({"version": 2, "sha256Hash": digest}),
            "version must be 1",
        ),
        (json!({"version": 1}), "sha256Hash must be a string"),
        (
            json!({"version": 1, "sha256Hash": ["hush"]}),
            "sha256Hash must be a string",
        ),
        (
            json!({"version": 1, "sha256Hash": "hush"}),
            "must be 64 hexadecimal digits",
        ),
        (
            json!({"version": 1, "sha256Hash": digest.replace('a', "g")}),
            "must be 64 hexadecimal",
        ),
    ] {
        for query in [None, Some("{ hello }")] {
            let mut body = json!({"extensions": {"persistedQuery": said}});
            if let Some(query) = query {
                body["query"] = query.into();
            }
            let answer = ask(&mini, &body).await;
            let (message, code) = refused(&answer);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("hush"), "{message}");
            assert_eq!(code, "BAD_USER_INPUT");
        }
    }
    // urql notes its misses there; null is nothing.
    let noted = json!({"persistedQuery": {"version": 1, "sha256Hash": digest, "miss": true}});
    let answer = ask(&mini, &json!({"query": "{ hello }", "extensions": noted})).await;
    assert_eq!(answer["data"]["hello"], "world");
    let nothing = json!({"query": "{ hello }", "extensions": {"persistedQuery": null}});
    let answer = ask(&mini, &nothing).await;
    assert_eq!(answer["data"]["hello"], "world");
}

#[tokio::test]
async fn nobody_who_has_not_signed_in_fills_the_store_or_reads_it() {
    let mini = Mini::new();
    let anonymous = async |body: &Value| answer(&mini, post_as(None, GRAPHQL, body)).await;
    // It is answered, and not kept.
    let (status, body) = anonymous(&with_hash("{ __typename }")).await;
    assert_eq!(
        (status, &body["data"]["__typename"]),
        (StatusCode::OK, &json!("Query"))
    );
    assert_eq!(
        refused(&ask(&mini, &by_hash("{ __typename }")).await),
        NOT_FOUND
    );

    ask(&mini, &with_hash("{ __typename }")).await;
    for known_or_not in ["{ __typename }", "{ hello }"] {
        let (status, body) = anonymous(&by_hash(known_or_not)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(code(&body), "UNAUTHENTICATED");
        let (status, _) = anonymous(&json!({"documentId": hash(known_or_not)})).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn what_the_guard_refuses_is_not_stored_and_what_is_stored_is_guarded() {
    let mini = Mini::new();
    let deep = format!(
        "{{ {} }}",
        (0..300)
            .map(|n| format!("a{n}: hello "))
            .collect::<String>()
    );
    for (text, expected) in [
        ("{ hello", "GRAPHQL_PARSE_FAILED"),
        (deep.as_str(), "LIMIT_EXCEEDED"),
    ] {
        assert_eq!(refused(&ask(&mini, &with_hash(text)).await).1, expected);
        assert_eq!(refused(&ask(&mini, &by_hash(text)).await), NOT_FOUND);
    }
    // The variables of each request are looked at again.
    let document = "query ($t: String!) { echo(text: $t) }";
    let mut good = with_hash(document);
    good["variables"] = json!({"t": "x"});
    assert_eq!(ask(&mini, &good).await["data"]["echo"], "x");
    assert_eq!(
        refused(&ask(&mini, &by_hash(document)).await).1,
        "BAD_USER_INPUT"
    );
}

#[tokio::test]
async fn without_automatic_persisted_queries_clients_are_told_to_send_texts() {
    let mini = Mini::persisting(admitting(AdmittedDocuments::Written));
    let unsupported = (
        "PersistedQueryNotSupported",
        "PERSISTED_QUERY_NOT_SUPPORTED",
    );
    for (accept, status) in [(GRAPHQL, StatusCode::BAD_REQUEST), (JSON, StatusCode::OK)] {
        let (found, body) = answer(&mini, get(accept, &by_hash("{ hello }"))).await;
        assert_eq!((found, refused(&body)), (status, unsupported));
    }
    assert_eq!(
        ask(&mini, &with_hash("{ hello }")).await["data"]["hello"],
        "world"
    );
    assert_eq!(
        refused(&ask(&mini, &by_hash("{ hello }")).await),
        unsupported
    );
}
