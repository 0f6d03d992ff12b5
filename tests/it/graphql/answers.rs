//! What an answer holds: errors beside data, no more text than its budget, and a fixed number of
//! queries behind it.

use serde_json::{Value, json};
use tracing_subscriber::prelude::*;

use crate::support::{Api, Replica, Statements, TestDatabase};

#[tokio::test]
async fn an_error_of_one_mutation_leaves_the_others_standing() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let answer = api
        .ask(
            &viewer,
            "mutation { \
               a: startChat(input: { title: \"fine\" }) { conversation { title } } \
               b: startChat(input: { message: \" \" }) { conversation { title } } \
               c: startChat(input: { title: \"too\" }) { conversation { title } } }",
            json!({}),
        )
        .await;
    assert_eq!(answer["data"]["a"]["conversation"]["title"], "fine");
    assert_eq!(answer["data"]["b"], Value::Null);
    assert_eq!(answer["data"]["c"]["conversation"]["title"], "too");
    assert_eq!(answer["errors"][0]["path"], json!(["b"]));
    assert_eq!(answer["errors"][0]["extensions"]["argument"], "message");
}

#[tokio::test]
async fn conflicts_say_their_reason() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "a").await;
    let send = "mutation($id: ID!, $content: String!, $key: String) { \
        sendMessage(input: { conversationId: $id, content: $content, idempotencyKey: $key }) { \
        reply { id status } userMessage { idempotencyKey } } }";
    let sent = api
        .data(
            &viewer,
            send,
            json!({ "id": conversation, "content": "one", "key": "k" }),
        )
        .await;
    assert_eq!(sent["sendMessage"]["userMessage"]["idempotencyKey"], "k");
    let refusal = api
        .refusal(
            &viewer,
            send,
            json!({ "id": conversation, "content": "two" }),
        )
        .await;
    assert_eq!(refusal["code"], "CONFLICT");
    assert_eq!(refusal["reason"], "REPLY_IN_PROGRESS");
    assert_eq!(refusal["messageId"], sent["sendMessage"]["reply"]["id"]);
    let refusal = api
        .refusal(
            &viewer,
            send,
            json!({ "id": conversation, "content": "two", "key": "k" }),
        )
        .await;
    assert_eq!(refusal["reason"], "IDEMPOTENCY_KEY_REUSED");
    for (content, key, argument) in [
        ("", "k2", "content"),
        ("a\0b", "k2", "content"),
        ("fine", "", "idempotencyKey"),
    ] {
        let refusal = api
            .refusal(
                &viewer,
                send,
                json!({ "id": conversation, "content": content, "key": key }),
            )
            .await;
        assert_eq!(refusal["argument"], argument);
    }
}

#[tokio::test]
async fn models_lists_what_may_be_named() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let models = api
        .data(&viewer, "{ models { name isDefault } }", json!({}))
        .await;
    assert_eq!(
        models["models"],
        json!([{ "name": "small", "isDefault": true }, { "name": "large", "isDefault": false }])
    );
}

#[tokio::test]
async fn an_answer_holds_no_more_text_than_its_budget() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "long").await;
    let long = "🍊".repeat(100_000);
    for _ in 0..12 {
        api.exchange(&viewer, &conversation, &long).await;
    }
    // Few messages, each under many names.
    let names: Vec<String> = (0..100).map(|index| format!("a{index}: content")).collect();
    let aliases = format!(
        "query($id: ID!) {{ viewer {{ conversation(id: $id) {{ messages(first: 1) {{ nodes {{ {} }} }} }} }} }}",
        names.join(" ")
    );
    // Many messages at once.
    let pages: Vec<String> = (0..3)
        .map(|index| {
            format!(
                "a{index}: messages(last: {}) {{ nodes {{ id }} }}",
                22 + index
            )
        })
        .collect();
    let pages = format!(
        "query($id: ID!) {{ viewer {{ conversation(id: $id) {{ {} }} }} }}",
        pages.join(" ")
    );
    for document in [aliases, pages] {
        let answer = api
            .ask(&viewer, &document, json!({ "id": conversation }))
            .await;
        let refusal = &answer["errors"][0]["extensions"];
        assert_eq!(refusal["code"], "LIMIT_EXCEEDED", "{}", answer["errors"]);
        assert_eq!(refusal["limit"], "answerBytes");
        assert!(answer.to_string().len() < 20_000_000);
    }
    let fits = "query($id: ID!) { viewer { conversation(id: $id) { systemPrompt messages(last: 10) { nodes { content } } } } }";
    api.data(&viewer, fits, json!({ "id": conversation })).await;
}

#[tokio::test]
async fn a_list_of_conversations_with_their_messages_costs_a_fixed_number_of_queries() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let page = "query($first: Int) { viewer { displayName conversations(first: $first) { totalCount nodes { \
        id title model lastMessage { content parent { id } } activeReply { id } \
        messages(last: 10) { totalCount nodes { content conversation { title } } } } } } }";
    for index in 0..20 {
        let conversation = api.start_chat(&viewer, &format!("chat {index}")).await;
        for _ in 0..5 {
            api.exchange(&viewer, &conversation, "hi").await;
        }
    }
    // The engine's own clock queries too: it stops, so that only the request is counted.
    replica.lifecycle.begin_hard_stop();
    replica.lifecycle.finished().await;
    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the first subscriber");

    let mut counts = Vec::new();
    for first in [1, 2, 20] {
        let before = statements.count();
        let answer = api.data(&viewer, page, json!({ "first": first })).await;
        counts.push(statements.count() - before);
        let nodes = answer["viewer"]["conversations"]["nodes"]
            .as_array()
            .expect("nodes");
        assert_eq!(nodes.len(), first);
        assert!(
            nodes
                .iter()
                .all(|node| node["messages"]["nodes"].as_array().map(Vec::len) == Some(10))
        );
    }
    assert!(counts[0] > 0, "statements are counted");
    assert_eq!(counts[0], counts[1]);
    assert_eq!(counts[0], counts[2]);
    assert!(counts[0] <= 20, "{} statements", counts[0]);
}
