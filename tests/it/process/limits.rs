//! Limits that an operator chose, on the whole server with its real schema.

use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    provider::{FakeProvider, Script},
    support::{
        TestDatabase, eventually,
        process::{Answer, Device, program},
        within,
    },
};

/// 302 fields: a page of a hundred, each of two and itself.
const PAGE: &str = "{ viewer { conversations(first: 100) { nodes { id title } } } }";

const NAME: &str = "{ viewer { externalId } }";

fn held_by(error: &Value, limit: &str, value: u64) {
    let extensions = &error["extensions"];
    assert_eq!(extensions["code"], "LIMIT_EXCEEDED", "{error}");
    assert_eq!(extensions["limit"], limit, "{error}");
    assert_eq!(extensions["value"], value, "{error}");
    let page = format!("docs/limits.md#{}", limit.to_lowercase());
    assert_eq!(extensions["documentation"], page);
}

async fn send(device: &Device, body: &Value) -> (StatusCode, Value) {
    let answer = Answer::to(device.post().json(body)).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn what_was_chosen_holds_over_every_transport() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("LOQUAT_MAX_COST", "300")
        .variable("LOQUAT_MAX_BATCH", "2")
        .variable("LOQUAT_MAX_BODY_BYTES", "3000")
        .variable("LOQUAT_MAX_DOCUMENT_TOKENS", "100")
        .variable("LOQUAT_MAX_SOCKET_OPERATIONS", "1")
        .variable("LOQUAT_MAX_CONNECTIONS_PER_USER", "2")
        .serve()
        .await;
    let device = Device::of(&server, "mallory");
    let mut socket = device.socket().await;

    for (document, limit, value) in [
        (PAGE.to_owned(), "cost", 300),
        (format!("{{ {} }}", "id ".repeat(100)), "tokens", 100),
    ] {
        let (_, body) = send(&device, &json!({ "query": document })).await;
        held_by(&body["errors"][0], limit, value);
        let stream = device.post().header(header::ACCEPT, "text/event-stream");
        let stream = stream.json(&json!({ "query": document })).send().await;
        let text = stream.expect("an answer").text().await.expect("text");
        let event = text.lines().find_map(|line| line.strip_prefix("data: "));
        let event: Value = serde_json::from_str(event.expect("an event")).expect("JSON");
        assert_eq!(event["errors"], body["errors"]);
        socket.subscribe("1", &document).await;
        assert_eq!(socket.next().await["payload"], body["errors"]);
    }

    let asking = json!({ "query": NAME, "extensions": { "cost": true } });
    let (_, body) = send(&device, &json!([asking, { "query": NAME }])).await;
    assert_eq!(body[0]["extensions"]["cost"]["value"], 2);
    assert_eq!(body[0]["extensions"]["cost"]["limit"], 300);
    assert_eq!(
        body[1],
        json!({ "data": { "viewer": { "externalId": "mallory" } } })
    );
    let (status, body) = send(&device, &json!([asking, asking, asking])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    held_by(&body["errors"][0], "batch", 2);

    let long = json!({ "query": format!("{NAME} #{}", "x".repeat(3_000)) });
    let (status, body) = send(&device, &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    held_by(&body["errors"][0], "bodyBytes", 3_000);

    socket
        .subscribe("1", "subscription { viewerEvents { __typename } }")
        .await;
    assert_eq!(socket.next().await["type"], "next");
    socket.subscribe("2", NAME).await;
    held_by(&socket.next().await["payload"][0], "socketOperations", 1);

    let mut second = device.socket().await;
    let mut third = device.judged_socket().await;
    let (code, reason) = third.closed().await;
    assert_eq!(code, 1013, "{reason}");
    assert!(reason.contains("docs/limits.md#connections"), "{reason}");
    let subscription = json!({ "query": "subscription { viewerEvents { __typename } }" });
    let stream = || {
        let request = device.post().header(header::ACCEPT, "text/event-stream");
        request.json(&subscription).send()
    };
    let refused = stream().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let body: Value = refused.json().await.expect("JSON");
    held_by(&body["errors"][0], "connections", 2);

    // Another user has their own; and a stream that its client has left is none any more.
    Device::of(&server, "alice").socket().await;
    assert!(second.is_alive().await);
    second.hang_up().await;
    for _ in 0..3 {
        eventually("a place is free", || async {
            let taken = stream().await.expect("an answer");
            (taken.status() == StatusCode::OK).then_some(())
        })
        .await;
    }
    assert!(socket.is_alive().await);
}

#[tokio::test]
async fn a_query_that_the_database_keeps_waiting_is_given_up_and_harms_nobody_after_it() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("LOQUAT_REQUEST_SECONDS", "3")
        .variable("LOQUAT_DATABASE_CONNECTIONS", "4")
        .serve()
        .await;
    let device = Device::of(&server, "mallory");
    device.start_chat().await;
    let mut lock = test.superuser().await;
    lock.execute("begin; lock table chat.conversations in access exclusive mode")
        .await
        .expect("a lock");
    let query = "{ viewer { conversations { nodes { id } } } }";
    let answer = within("an answer", device.answer(query, json!({}))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    held_by(answer.error(), "requestSeconds", 3);
    // What was begun in the database keeps its connection until the database lets go, and its user
    // has no more of them than before.
    for name in ["alice", "bob", "carol"] {
        let answer = within("an answer", device.answer(query, json!({}))).await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        held_by(answer.error(), "requestSeconds", 3);
        let data = Device::of(&server, name).data(NAME, json!({})).await;
        assert_eq!(data["viewer"]["externalId"], name);
    }
    lock.execute("rollback").await.expect("no lock");
    eventually("the server answers as ever", || async {
        let answer = device.answer(query, json!({})).await;
        let nodes = &answer.body["data"]["viewer"]["conversations"]["nodes"];
        (nodes.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_texts_of_an_answer_count_among_what_its_user_has_under_way() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.by_default(Script::stream().text("yes").complete());
    let server = program(&test, &model)
        .variable("LOQUAT_MAX_IN_FLIGHT_BYTES", "8388608")
        .serve()
        .await;
    let device = Device::of(&server, "mallory");
    let chat = device.start_chat().await;
    let long = "🍊".repeat(100_000);
    let send = "mutation($chat: ID!, $content: String!) { sendMessage(input: { conversationId: $chat, \
        content: $content, whenBusy: STOP }) { userMessage { id } } }";
    for _ in 0..12 {
        device
            .data(send, json!({ "chat": chat, "content": long }))
            .await;
    }
    let page = |last: u32| {
        let document = format!(
            "query($chat: ID!) {{ viewer {{ conversation(id: $chat) {{ messages(last: {last}) {{ nodes {{ content }} }} }} }} }}"
        );
        let (device, chat) = (&device, &chat);
        async move { device.answer(&document, json!({ "chat": chat })).await }
    };
    // Once as they were loaded, and once as they are told.
    let refused = page(24).await;
    held_by(refused.error(), "inFlightBytes", 8_388_608);
    let extensions = &refused.error()["extensions"];
    assert!(extensions.get("retryAfter").is_none(), "{extensions}");
    for _ in 0..5 {
        let nodes = &page(8).await.body["data"]["viewer"]["conversation"]["messages"]["nodes"];
        assert_eq!(nodes.as_array().map(Vec::len), Some(8));
    }
    let mut socket = device.socket().await;
    let subscription = format!(
        "subscription {{ conversationEvents(conversationId: \"{chat}\") {{ ... on ConversationSnapshot {{ \
         conversation {{ messages(last: 24) {{ nodes {{ content }} }} }} }} }} }}"
    );
    socket.subscribe("1", &subscription).await;
    held_by(
        &socket.next().await["payload"]["errors"][0],
        "inFlightBytes",
        8_388_608,
    );
}
