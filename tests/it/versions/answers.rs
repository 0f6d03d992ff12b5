//! Versions as clients see them.

use loquat::{
    db::Viewer,
    graphql::{
        self,
        guard::{Guard, Limits},
    },
};
use serde_json::{Value, json};
use tracing_subscriber::prelude::*;

use super::{edited, exchange, regenerated};
use crate::support::{Api, Replica, Statements, TestDatabase, text};

const HISTORY: &str = "query($id: ID!) { viewer { conversation(id: $id) { messages(first: 100) { totalCount \
    nodes { content versionNumber versionCount versions { id content versionNumber active } } } } } }";

async fn history(api: &Api<'_>, viewer: &Viewer, conversation: &str) -> Value {
    let mut data = api
        .data(viewer, HISTORY, json!({ "id": conversation }))
        .await;
    data["viewer"]["conversation"]["messages"].take()
}

#[tokio::test]
async fn a_history_shows_the_active_path_and_the_alternatives_at_each_place() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "a").await;
    let [first, _] = api.exchange(&viewer, &conversation, "one").await;
    api.exchange(&viewer, &conversation, "two").await;
    let answer = api
        .data(
            &viewer,
            "mutation($id: ID!) { editMessage(input: { messageId: $id, content: \"uno\", idempotencyKey: \"k\" }) { \
               conversation { messages { nodes { id content } } activeReply { id } } \
               userMessage { versionNumber versionCount idempotencyKey active parent { id } } \
               reply { id versionNumber } } }",
            json!({ "id": first }),
        )
        .await;
    let made = &answer["editMessage"];
    assert_eq!(
        made["userMessage"],
        json!({ "versionNumber": 2, "versionCount": 2, "idempotencyKey": "k", "active": true, "parent": null })
    );
    assert_eq!(
        made["conversation"]["activeReply"]["id"],
        made["reply"]["id"]
    );
    let nodes = &made["conversation"]["messages"]["nodes"];
    assert_eq!(nodes.as_array().map(Vec::len), Some(2));
    assert_eq!(nodes[0]["content"], "uno");
    // Its writer may have begun by now, and has said nothing yet.
    assert_eq!(
        nodes[1],
        json!({ "id": made["reply"]["id"], "content": "" })
    );
    let refusal = api
        .refusal(
            &viewer,
            "mutation($id: ID!) { selectVersion(input: { messageId: $id }) { conversation { id } } }",
            json!({ "id": first }),
        )
        .await;
    assert_eq!(refusal["code"], "CONFLICT");
    assert_eq!(refusal["reason"], "REPLY_IN_PROGRESS");
    assert_eq!(refusal["messageId"], made["reply"]["id"]);
    replica.desk.next().await.finish();
    let reply = text(&made["reply"]["id"]);
    finished(&api, &viewer, &reply).await;

    let answer = api
        .data(
            &viewer,
            "mutation($id: ID!) { regenerateReply(input: { messageId: $id, model: \"large\" }) { \
               reply { id model versionNumber versionCount versions { id } } } }",
            json!({ "id": reply }),
        )
        .await;
    let again = &answer["regenerateReply"]["reply"];
    assert_eq!(
        (&again["model"], &again["versionNumber"]),
        (&json!("large"), &json!(2))
    );
    assert_eq!(
        again["versions"],
        json!([{ "id": reply }, { "id": again["id"] }])
    );
    let writing = replica.desk.next().await;
    writing.say("half");
    writing.finish();
    finished(&api, &viewer, &text(&again["id"])).await;
    let page = history(&api, &viewer, &conversation).await;
    assert_eq!(page["totalCount"], 2);
    let question = &page["nodes"][0];
    assert_eq!(
        (&question["versionNumber"], &question["versionCount"]),
        (&json!(2), &json!(2))
    );
    let shown: Vec<_> = question["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| (text(&version["content"]), version["active"] == true))
        .collect();
    assert_eq!(shown, [("one".to_owned(), false), ("uno".to_owned(), true)]);

    let answer = api
        .data(
            &viewer,
            "mutation($id: ID!) { selectVersion(input: { messageId: $id }) { \
               conversation { messages { totalCount nodes { content } } lastMessage { content } } } }",
            json!({ "id": first }),
        )
        .await;
    let back = &answer["selectVersion"]["conversation"];
    assert_eq!(back["messages"]["totalCount"], 4);
    assert_eq!(back["lastMessage"]["content"], "answer to two");
}

async fn finished(api: &Api<'_>, viewer: &Viewer, reply: &str) {
    use futures_util::StreamExt;
    let mut events = api.subscribe(
        viewer,
        "subscription($id: ID!) { messageStream(messageId: $id) { __typename } }",
        json!({ "id": reply }),
    );
    while let Some(event) = crate::support::within("the reply ends", events.next()).await {
        assert_eq!(event.get("errors"), None, "{event}");
    }
}

#[tokio::test]
async fn feedback_is_given_changed_and_taken_back() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "a").await;
    let [question, reply] = api.exchange(&viewer, &conversation, "one").await;
    let rate = "mutation($input: RateMessageInput!) { rateMessage(input: $input) { \
        message { id feedback { rating comment } } } }";
    for (input, feedback) in [
        (
            json!({ "messageId": reply, "rating": "DOWN", "comment": "wrong" }),
            json!({ "rating": "DOWN", "comment": "wrong" }),
        ),
        (
            json!({ "messageId": reply, "rating": "UP" }),
            json!({ "rating": "UP", "comment": null }),
        ),
        (json!({ "messageId": reply, "rating": null }), Value::Null),
    ] {
        let before = revision(&test, &conversation).await;
        let data = api.data(&viewer, rate, json!({ "input": input })).await;
        assert_eq!(data["rateMessage"]["message"]["feedback"], feedback);
        let node =
            "query($id: ID!) { node(id: $id) { ... on Message { feedback { rating comment } } } }";
        let stored = api.data(&viewer, node, json!({ "id": reply })).await;
        assert_eq!(stored["node"]["feedback"], feedback);
        // By which subscribers learn of it.
        let after = revision(&test, &conversation).await;
        assert_eq!(after, (before.0 + 1, before.0 + 1));
    }
    let comment = "x".repeat(2_001);
    for (input, argument) in [
        (json!({ "messageId": reply, "comment": "wrong" }), "comment"),
        (
            json!({ "messageId": reply, "rating": "UP", "comment": comment }),
            "comment",
        ),
        (
            json!({ "messageId": reply, "rating": "UP", "comment": "a\0b" }),
            "comment",
        ),
        (
            json!({ "messageId": question, "rating": "UP" }),
            "messageId",
        ),
        (
            json!({ "messageId": conversation, "rating": "UP" }),
            "messageId",
        ),
    ] {
        let refusal = api.refusal(&viewer, rate, json!({ "input": input })).await;
        assert_eq!(refusal["code"], "BAD_USER_INPUT");
        assert_eq!(refusal["argument"], argument);
    }
}

/// Of the conversation, and the highest of its messages.
async fn revision(test: &TestDatabase, _conversation: &str) -> (i64, i64) {
    sqlx::query_as("select (select max(revision) from chat.conversations), (select max(revision) from chat.messages)")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("revisions")
}

#[tokio::test]
async fn of_many_versions_fifty_are_shown_and_more_are_never_refused() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = replica.conversation(&viewer).await;
    let first = exchange(&replica, &viewer, conversation, "version 1").await;
    for number in 2..=53 {
        let asked = first.user_message.id;
        edited(&replica, &viewer, asked, &format!("version {number}")).await;
    }
    let document = "query($id: ID!) { viewer { conversation(id: $id) { messages { nodes { \
        versionCount versions { versionNumber content versionCount versions { versionNumber } } } } } } }";
    // Each version has its own stretch: that is more than one page of history may cost.
    let guard = Guard::new(Limits::default(), &graphql::sdl());
    let read = guard.read(document).expect("a document");
    assert!(
        guard
            .check(read.document, None, &Default::default())
            .is_err()
    );

    let data = api
        .data(
            &viewer,
            document,
            json!({ "id": id_of(&api, &viewer).await }),
        )
        .await;
    let message = &data["viewer"]["conversation"]["messages"]["nodes"][0];
    assert_eq!(message["versionCount"], 53);
    let numbers = |versions: &Value| -> Vec<i64> {
        let versions = versions.as_array().expect("versions");
        let number = |version: &Value| version["versionNumber"].as_i64().expect("a number");
        versions.iter().map(number).collect()
    };
    assert_eq!(numbers(&message["versions"]), (4..=53).collect::<Vec<_>>());
    for version in message["versions"].as_array().expect("versions") {
        assert_eq!(
            version["content"],
            format!("version {}", version["versionNumber"])
        );
        assert_eq!(numbers(&version["versions"]), (4..=53).collect::<Vec<_>>());
    }
    // An older one is among its own.
    let chat = &replica.chat;
    let selected = chat.select_version(&viewer, first.user_message.id).await;
    selected.expect("selected");
    let data = api
        .data(
            &viewer,
            document,
            json!({ "id": id_of(&api, &viewer).await }),
        )
        .await;
    let message = &data["viewer"]["conversation"]["messages"]["nodes"][0];
    assert_eq!(numbers(&message["versions"]), (1..=50).collect::<Vec<_>>());
    let third = &message["versions"][2];
    assert_eq!(numbers(&third["versions"]), (3..=52).collect::<Vec<_>>());
}

async fn id_of(api: &Api<'_>, viewer: &Viewer) -> String {
    let list = "{ viewer { conversations { nodes { id } } } }";
    let data = api.data(viewer, list, json!({})).await;
    text(&data["viewer"]["conversations"]["nodes"][0]["id"])
}

#[tokio::test]
async fn versions_are_weighed_as_fifty() {
    let guard = Guard::new(Limits::default(), &graphql::sdl());
    let costs = |document: &str| {
        let read = guard.read(document).expect("a document");
        guard
            .check(read.document, None, &Default::default())
            .is_ok()
    };
    let history = |first: u32, below: &str| {
        format!(
            "{{ viewer {{ conversations(first: 1) {{ nodes {{ messages(first: {first}) {{ nodes {{ {below} }} }} }} }} }} }}"
        )
    };
    assert!(costs(&history(100, "versionCount versions { id content }")));
    assert!(!costs(&history(100, "versions { id versions { id } }")));
    assert!(!costs(&history(
        100,
        "versions { id role content status model }"
    )));
}

#[tokio::test]
async fn lists_in_lists_hold_no_more_text_than_their_budget() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = replica.conversation(&viewer).await;
    let long = "🍊".repeat(100_000);
    let first = exchange(&replica, &viewer, conversation, "one").await;
    for _ in 0..12 {
        edited(&replica, &viewer, first.user_message.id, &long).await;
    }
    // Not one text is told, and each list has its own copies.
    let nested = "query($id: ID!) { viewer { conversation(id: $id) { messages(first: 1) { nodes { versions { \
        id versions { id versions { id } } } } } } } }";
    let id = id_of(&api, &viewer).await;
    let answer = api.ask(&viewer, nested, json!({ "id": id })).await;
    let refusal = &answer["errors"][0]["extensions"];
    assert_eq!(refusal["code"], "LIMIT_EXCEEDED", "{}", answer["errors"]);
    assert_eq!(refusal["limit"], "answerBytes");
    let flat = "query($id: ID!) { viewer { conversation(id: $id) { messages(first: 1) { nodes { versions { content } } } } } }";
    let data = api.data(&viewer, flat, json!({ "id": id })).await;
    let versions = &data["viewer"]["conversation"]["messages"]["nodes"][0]["versions"];
    assert_eq!(versions.as_array().map(Vec::len), Some(13));
}

#[tokio::test]
async fn the_versions_of_a_page_cost_a_fixed_number_of_queries() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = replica.conversation(&viewer).await;
    for index in 0..10 {
        let sent = exchange(&replica, &viewer, conversation, &format!("message {index}")).await;
        regenerated(&replica, &viewer, sent.reply.id, "better").await;
        edited(&replica, &viewer, sent.user_message.id, "or rather").await;
    }
    // The engine's own clock queries too: it stops, so that only the request is counted.
    replica.lifecycle.begin_hard_stop();
    replica.lifecycle.finished().await;
    let statements = Statements::default();
    tracing_subscriber::registry()
        .with(statements.clone())
        .init();
    let id = id_of(&api, &viewer).await;
    let page = "query($id: ID!, $first: Int) { viewer { conversation(id: $id) { messages(first: $first) { nodes { \
        versionCount versions { content versionCount } } } } } }";
    let mut counts = Vec::new();
    for first in [1, 2, 20] {
        let before = statements.count();
        let data = api
            .data(&viewer, page, json!({ "id": id, "first": first }))
            .await;
        counts.push(statements.count() - before);
        let nodes = &data["viewer"]["conversation"]["messages"]["nodes"];
        let nodes = nodes.as_array().expect("nodes");
        assert_eq!(nodes.len(), first);
        assert!(
            nodes
                .iter()
                .step_by(2)
                .all(|node| node["versionCount"] == 2)
        );
    }
    assert!(counts[0] > 0, "statements are counted");
    assert_eq!((counts[0], counts[0]), (counts[1], counts[2]));
}

#[tokio::test]
async fn cursors_of_what_stays_on_the_path_stay_good() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "a").await;
    api.exchange(&viewer, &conversation, "one").await;
    let [second, _] = api.exchange(&viewer, &conversation, "two").await;
    api.exchange(&viewer, &conversation, "three").await;
    let page = "query($id: ID!, $after: String) { viewer { conversation(id: $id) { messages(after: $after) { \
        edges { cursor node { content } } } } } }";
    let of = |after: Value| json!({ "id": conversation, "after": after });
    let contents = |data: &Value| -> Vec<String> {
        let edges = &data["viewer"]["conversation"]["messages"]["edges"];
        let edges = edges.as_array().expect("edges");
        edges
            .iter()
            .map(|edge| text(&edge["node"]["content"]))
            .collect()
    };
    let data = api.data(&viewer, page, of(Value::Null)).await;
    let edges = &data["viewer"]["conversation"]["messages"]["edges"];
    let (first, third) = (edges[0]["cursor"].clone(), edges[2]["cursor"].clone());
    let document = "mutation($id: ID!) { editMessage(input: { messageId: $id, content: \"zwei\" }) { reply { id } } }";
    let made = api.data(&viewer, document, json!({ "id": second })).await;
    replica.desk.next().await.finish();
    finished(&api, &viewer, &text(&made["editMessage"]["reply"]["id"])).await;
    let data = api.data(&viewer, page, of(first)).await;
    assert_eq!(contents(&data), ["answer to one", "zwei", ""]);
    // Of the message that went: what is in its place now.
    let data = api.data(&viewer, page, of(third)).await;
    assert_eq!(contents(&data), [""]);
}
