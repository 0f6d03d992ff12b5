//! GraphQL over HTTP, by its draft, on the transports' own small schema.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use futures_util::{FutureExt, stream};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{
    mini::{self, Mini, code, options},
    support::within,
};

const GRAPHQL: &str = "application/graphql-response+json";

fn post(accept: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(body.into())
        .expect("a request")
}

fn asking(accept: &str, query: &str) -> Request<Body> {
    post(accept, json!({"query": query}).to_string())
}

fn get(query_string: &str) -> Request<Body> {
    Request::get(format!("/graphql?{query_string}"))
        .header(header::ACCEPT, GRAPHQL)
        .header(header::AUTHORIZATION, "Bearer ada")
        .body(Body::empty())
        .expect("a request")
}

async fn answer(mini: &Mini, request: Request<Body>) -> (StatusCode, Value) {
    let response = mini.send(request).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::VARY], "accept");
    let status = response.status();
    (status, mini::json(response).await)
}

#[tokio::test]
async fn a_query_is_answered_by_get_and_by_post() {
    let mini = Mini::new();
    let (status, body) = answer(&mini, asking(GRAPHQL, "{ hello who }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({"data": {"hello": "world", "who": "ada"}}));

    let (status, body) = answer(
        &mini,
        get("query=query%20A(%24t%3AString!)%7Becho(text%3A%24t)%7D%20query%20B%7Bhello%7D&operationName=A&variables=%7B%22t%22%3A%22%C3%BC%22%7D&extensions=%7B%7D"),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({"data": {"echo": "ü"}}));
}

#[tokio::test]
async fn the_content_type_is_the_one_that_was_asked_for_and_no_stream_for_being_listed() {
    let mini = Mini::new();
    for (accept, expected) in [
        ("*/*", "application/json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        (GRAPHQL, "application/graphql-response+json; charset=utf-8"),
        (
            "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
            "application/graphql-response+json; charset=utf-8",
        ),
    ] {
        let response = mini.send(asking(accept, "{ hello }")).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], expected);
        let body = mini::json(response).await;
        assert_eq!(body["data"]["hello"], "world", "{accept}");
    }
    let (status, body) = answer(&mini, asking("text/html", "{ hello }")).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(code(&body), "BAD_USER_INPUT");
}

#[tokio::test]
async fn what_was_never_executed_is_400_in_the_newer_type_and_200_in_the_older() {
    let mini = Mini::new();
    for (request, expected) in [
        (json!({"query": "{ hello"}), "GRAPHQL_PARSE_FAILED"),
        (json!({"query": "{ nothing }"}), "GRAPHQL_VALIDATION_FAILED"),
        (
            json!({"query": "{ hello }", "operationName": "Nobody"}),
            "BAD_USER_INPUT",
        ),
        (
            json!({"query": "query A { hello } query B { hello }"}),
            "BAD_USER_INPUT",
        ),
        (
            json!({"query": "query ($t: String!) { echo(text: $t) }", "variables": {"t": {}}}),
            "BAD_USER_INPUT",
        ),
        (
            json!({"query": "query ($t: String!) { echo(text: $t) }"}),
            "BAD_USER_INPUT",
        ),
        (
            json!({"query": format!("{{ {} }}", "hello ".repeat(60))}),
            "LIMIT_EXCEEDED",
        ),
        (
            json!({"query": "{ find(filter: {title: \"a\", title: \"b\"}) }"}),
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ] {
        for (accept, status) in [
            (GRAPHQL, StatusCode::BAD_REQUEST),
            ("application/json", StatusCode::OK),
        ] {
            let (given, body) = answer(&mini, post(accept, request.to_string())).await;
            assert_eq!(given, status, "{request}");
            assert_eq!(code(&body), expected, "{request}");
            assert!(body.get("data").is_none(), "{body}");
        }
    }
    assert_eq!(mini.controls.resolved(), 0);
}

#[tokio::test]
async fn what_was_executed_is_200_with_its_errors_coded() {
    let mini = Mini::new();
    let (status, body) = answer(&mini, asking(GRAPHQL, "{ hello fails }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"], json!({"hello": "world", "fails": null}));
    assert_eq!(code(&body), "NOT_FOUND");
    assert_eq!(body["errors"][0]["path"], json!(["fails"]));

    let (status, body) = answer(&mini, asking(GRAPHQL, "{ hello failsHard }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"], Value::Null);
    assert!(body.as_object().expect("an object").contains_key("data"));
}

#[tokio::test]
async fn faults_of_ours_tell_nothing_but_a_request_id() {
    let mini = Mini::new();
    for query in ["{ leaks }", "{ internal }"] {
        let (_, body) = answer(&mini, asking(GRAPHQL, query)).await;
        assert_eq!(code(&body), "INTERNAL_SERVER_ERROR");
        assert_eq!(
            body["errors"][0]["message"],
            "Something went wrong on the server."
        );
        assert!(body["errors"][0]["extensions"]["requestId"].is_string());
    }
    let (status, body) = answer(&mini, asking(GRAPHQL, "{ panics }")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(code(&body), "INTERNAL_SERVER_ERROR");
    assert!(!body.to_string().contains("on purpose"));
}

#[tokio::test]
async fn a_body_that_a_browser_sends_without_asking_is_refused() {
    let mini = Mini::new();
    let body = json!({"query": "mutation { set }"}).to_string();
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=latin1"),
    ] {
        let mut request = post(GRAPHQL, body.clone());
        request.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(content_type) = content_type {
            let value = content_type.parse().expect("a header");
            request.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        let (status, body) = answer(&mini, request).await;
        assert_eq!(
            status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type:?}"
        );
        assert_eq!(code(&body), "BAD_USER_INPUT");
    }
    let mut compressed = post(GRAPHQL, body);
    let value = "gzip".parse().expect("a header");
    compressed
        .headers_mut()
        .insert(header::CONTENT_ENCODING, value);
    let (status, _) = answer(&mini, compressed).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(mini.controls.resolved(), 0);
}

#[tokio::test]
async fn a_mutation_by_get_and_other_methods_are_405_with_what_is_allowed() {
    let mini = Mini::new();
    let response = mini.send(get("query=mutation%7Bset%7D")).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST");
    assert_eq!(code(&mini::json(response).await), "BAD_USER_INPUT");
    assert_eq!(mini.controls.resolved(), 0);

    for method in [
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
    ] {
        let mut request = asking(GRAPHQL, "{ hello }");
        *request.method_mut() = method.clone();
        let response = mini.send(request).await;
        assert_eq!(
            response.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
        assert_eq!(response.headers()[header::ALLOW], "GET, POST");
    }
}

#[tokio::test]
async fn a_malformed_request_is_400_and_says_which_part() {
    let mini = Mini::new();
    for (body, named) in [
        ("", "JSON"),
        ("{\"query\": \"{ hush }\"", "JSON"),
        ("\"hush\"", "object"),
        ("[]", "empty"),
        ("{}", "\"query\""),
        ("{\"query\": {\"hush\": 1}}", "\"query\""),
        (
            "{\"query\": \"{ hello }\", \"variables\": \"hush\"}",
            "\"variables\"",
        ),
        (
            "{\"query\": \"{ hello }\", \"operationName\": [\"hush\"]}",
            "\"operationName\"",
        ),
        (
            "{\"query\": \"{ hello }\", \"extensions\": \"hush\"}",
            "\"extensions\"",
        ),
        ("{\"query\": \"\\ud800\"}", "JSON"),
    ] {
        for accept in [GRAPHQL, "application/json"] {
            let (status, answer) = answer(&mini, post(accept, body)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            let message = answer["errors"][0]["message"].as_str().expect("text");
            assert!(message.contains(named), "{body}: {message}");
            assert!(!message.contains("hush") && !message.contains('\n'));
            assert_eq!(code(&answer), "BAD_USER_INPUT");
        }
    }
    let deep = format!(
        "{{\"query\": \"{{ hello }}\", \"variables\": {}",
        "[".repeat(100_000)
    );
    let (status, _) = answer(&mini, post(GRAPHQL, deep)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_message_repeats_the_document() {
    let mini = Mini::new();
    let secret = "hunter2";
    for query in [
        format!("{{ echo(text: \"{secret}\" "),
        format!("{{ echo(text: [\"{secret}\"]) }}"),
        format!("{{ find(filter: {{title: 1, secret: \"{secret}\"}}) }}"),
    ] {
        let (_, body) = answer(&mini, asking(GRAPHQL, &query)).await;
        assert!(!body.to_string().contains(secret), "{body}");
        assert!(!body.to_string().contains("Did you mean"), "{body}");
    }
    let (_, body) = answer(&mini, asking(GRAPHQL, "{ helo }")).await;
    assert!(!body.to_string().contains("hello"), "{body}");
}

#[tokio::test]
async fn only_typename_is_answered_before_sign_in() {
    let mini = Mini::new();
    let anonymous = |query: &str| {
        let mut request = asking(GRAPHQL, query);
        request.headers_mut().remove(header::AUTHORIZATION);
        request
    };
    let (status, body) = answer(&mini, anonymous("{ __typename ... { t: __typename } }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"]["__typename"], "Query");

    for query in [
        "{ hello }",
        "{ __typename hello }",
        "{ ...F } fragment F on Query { hello }",
        "{ ... { ... { hello } } }",
        "mutation { set }",
        "{ __schema { queryType { name } } }",
        "{ __type(name: \"Query\") { name } }",
        "query A { __typename } query B { hello }",
    ] {
        let mut request = anonymous(query);
        if query.starts_with("query A") {
            let body = json!({"query": query, "operationName": "B"});
            *request.body_mut() = Body::from(body.to_string());
        }
        let response = mini.send(request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{query}");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(code(&mini::json(response).await), "UNAUTHENTICATED");
    }
    assert_eq!(mini.controls.resolved(), 0);

    let mini = Mini::with(loquat::http::graphql::Options {
        public_introspection: true,
        ..options()
    });
    let (status, body) = answer(&mini, anonymous("{ __schema { queryType { name } } }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"]["__schema"]["queryType"]["name"], "Query");
    let (status, _) = answer(
        &mini,
        anonymous("{ __schema { queryType { name } } hello }"),
    )
    .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_credential_that_is_not_accepted_is_401_whatever_is_asked() {
    let mini = Mini::new();
    for (credential, accept) in [
        ("Bearer refused", GRAPHQL),
        ("Bearer refused", "application/json"),
        ("Basic YTpi", GRAPHQL),
        ("Bearer ", GRAPHQL),
    ] {
        let mut request = asking(accept, "{ __typename }");
        let value = credential.parse().expect("a header");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        let (status, body) = answer(&mini, request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{credential}");
        assert_eq!(code(&body), "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn a_credential_in_the_url_is_401_by_every_method() {
    let mini = Mini::new();
    let mut posted = asking(GRAPHQL, "{ hello }");
    *posted.uri_mut() = "/graphql?token=ada".parse().expect("a path");
    for request in [get("query={hello}&Access_Token=ada"), posted] {
        let (status, body) = answer(&mini, request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(code(&body), "UNAUTHENTICATED");
    }
    // A variable of such a name is none.
    let variables = get("query={hello}&variables={%22token%22:%22ada%22}");
    assert_eq!(answer(&mini, variables).await.0, StatusCode::OK);
}

#[tokio::test]
async fn sign_in_that_is_not_possible_is_503_and_says_when_to_come_back() {
    let mini = Mini::new();
    let mut request = asking(GRAPHQL, "{ hello }");
    let value = "Bearer unavailable".parse().expect("a header");
    request.headers_mut().insert(header::AUTHORIZATION, value);
    let response = mini.send(request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    let body = mini::json(response).await;
    assert_eq!(code(&body), "UNAVAILABLE");
    assert_eq!(body["errors"][0]["extensions"]["retryAfter"], 7);
}

#[tokio::test]
async fn a_draining_server_takes_nothing_new_and_finishes_what_it_has() {
    let mini = Mini::new();
    let running = mini.send(asking(GRAPHQL, "{ gate(name: \"g\") }"));
    let draining = async {
        tokio::task::yield_now().await;
        mini.lifecycle.begin_soft_stop();
        let response = mini.send(asking(GRAPHQL, "{ __typename }")).await;
        mini.controls.open("g");
        response
    };
    let (running, refused) = tokio::join!(running, draining);
    assert_eq!(mini::json(running).await["data"]["gate"], "g");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(code(&mini::json(refused).await), "UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_body_that_is_refused() {
    let mini = Mini::new();
    let endless = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
    let mut request = post(GRAPHQL, endless);
    let refused = HeaderValue::from_static("Bearer refused");
    request.headers_mut().insert(header::AUTHORIZATION, refused);
    let begun = Instant::now();
    let mut answering = Box::pin(mini.send(request));
    assert!((&mut answering).now_or_never().is_none());
    mini.lifecycle.begin_hard_stop();
    assert_eq!(answering.await.status(), StatusCode::UNAUTHORIZED);
    // The clock stands still unless somebody waits for it.
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_mutation_goes_on_when_its_client_goes_away() {
    let mini = Mini::new();
    let request = mini.send(asking(GRAPHQL, "mutation { increment }"));
    tokio::select! {
        biased;
        _ = request => panic!("the gate is closed"),
        () = async {
            while mini.controls.resolved() == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    mini.controls.open("mutation");
    mini.controls.mutations(1).await;
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_413_announced_or_not() {
    let mini = Mini::new();
    let (status, body) = answer(&mini, post(GRAPHQL, vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(code(&body), "LIMIT_EXCEEDED");
    assert_eq!(body["errors"][0]["extensions"]["limit"], "bodyBytes");

    let text = "x".repeat((1 << 20) - 100);
    let body = json!({"query": "query ($t: String!) { echo(text: $t) }", "variables": {"t": text}});
    let (status, _) = answer(&mini, post(GRAPHQL, body.to_string())).await;
    assert_eq!(status, StatusCode::OK);

    let address = mini.serve().await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("a head");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..17 {
        stream.write_all(chunk.as_bytes()).await.expect("a chunk");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("an end");
    let mut answer = [0; 12];
    within("an answer comes", stream.read_exact(&mut answer))
        .await
        .expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}
