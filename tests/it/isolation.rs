//! Nobody sees another user's data. Every root field has a case here; the test reads the schema
//! and fails when one is missing. Two floors hold this, the SQL that names the owner and the row
//! level security beneath it; the cases run on both, and on the first alone.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use loquat::db::Viewer;
use serde_json::{Value, json};

use crate::support::{Api, Replica, TestDatabase, sql, text, within};

/// Alice's things, which Bob has learned the ids and cursors of.
struct Secrets {
    viewer: String,
    conversation: String,
    question: String,
    reply: String,
    conversation_cursor: String,
    message_cursor: String,
}

/// What only Alice may see of them.
const SECRET: &str = "the secret of the loquat";

/// Alice's key for starting her chat; again, it answers with the same chat.
async fn start_with_her_key(api: &Api<'_>, alice: &Viewer) -> String {
    let started = api
        .data(
            alice,
            "mutation($title: String) { startChat(input: { title: $title, idempotencyKey: \"alices key\" }) { conversation { id } } }",
            json!({ "title": SECRET }),
        )
        .await;
    text(&started["startChat"]["conversation"]["id"])
}

async fn secrets_of(api: &Api<'_>, alice: &Viewer) -> Secrets {
    let conversation = start_with_her_key(api, alice).await;
    let [question, reply] = api.exchange(alice, &conversation, SECRET).await;
    let found = api
        .data(
            alice,
            "{ viewer { id conversations { edges { cursor node { messages { edges { cursor } } } } } } }",
            json!({}),
        )
        .await;
    let edge = &found["viewer"]["conversations"]["edges"][0];
    Secrets {
        viewer: text(&found["viewer"]["id"]),
        conversation,
        question,
        reply,
        conversation_cursor: text(&edge["cursor"]),
        message_cursor: text(&edge["node"]["messages"]["edges"][0]["cursor"]),
    }
}

/// One attempt of Bob's: the root field, the document, the variables.
type Case = (&'static str, &'static str, Value, Expected);

enum Expected {
    /// Not yours is not found: to the letter what a thing that never was answers.
    NotFound,
    /// His own things, and nothing else.
    Own(Value),
}

fn cases(secrets: &Secrets) -> Vec<Case> {
    use Expected::{NotFound, Own};
    let conversation = json!({ "id": secrets.conversation });
    let node = "query($id: ID!) { node(id: $id) { id ... on Viewer { email externalId } \
        ... on Conversation { title messages { nodes { content } } } \
        ... on Message { content parent { content } conversation { title } } } }";
    let own_list = |titles: &[&str], total: usize| {
        let nodes: Vec<Value> = titles
            .iter()
            .map(|title| json!({ "title": title }))
            .collect();
        Own(json!({ "viewer": { "conversations": { "totalCount": total, "nodes": nodes } } }))
    };
    let start = "mutation { startChat(input: { message: \"mine\", idempotencyKey: \"alices key\" }) { userMessage { content } } }";
    let started = json!({ "startChat": { "userMessage": { "content": "mine" } } });
    vec![
        ("node", node, json!({ "id": secrets.viewer }), NotFound),
        ("node", node, conversation.clone(), NotFound),
        ("node", node, json!({ "id": secrets.question }), NotFound),
        ("node", node, json!({ "id": secrets.reply }), NotFound),
        (
            "nodes",
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            json!({ "ids": [secrets.viewer, secrets.conversation, secrets.question, secrets.reply] }),
            NotFound,
        ),
        (
            "viewer",
            "query($id: ID!) { viewer { conversation(id: $id) { title messages { nodes { content } } } } }",
            conversation.clone(),
            NotFound,
        ),
        // Her cursor is a place in time, between his own two.
        (
            "viewer",
            "query($after: String) { viewer { conversations(after: $after, first: 100) { totalCount nodes { title } } } }",
            json!({ "after": secrets.conversation_cursor }),
            own_list(&["bobs older"], 2),
        ),
        (
            "viewer",
            "query($before: String) { viewer { conversations(before: $before, last: 100) { totalCount nodes { title } } } }",
            json!({ "before": secrets.conversation_cursor }),
            own_list(&["bobs newer"], 2),
        ),
        (
            "viewer",
            "{ viewer { conversations(filter: { titleContains: \"secret\" }) { totalCount nodes { title } } } }",
            json!({}),
            own_list(&[], 0),
        ),
        (
            "models",
            "{ models { name } }",
            json!({}),
            Own(json!({ "models": [{ "name": "small" }, { "name": "large" }] })),
        ),
        // Twice: the key is his own when he uses it again, too.
        ("startChat", start, json!({}), Own(started.clone())),
        ("startChat", start, json!({}), Own(started)),
        (
            "sendMessage",
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"mine\" }) { conversation { title } reply { id } } }",
            conversation.clone(),
            NotFound,
        ),
        (
            "updateConversation",
            "mutation($id: ID!) { updateConversation(input: { conversationId: $id, title: \"taken\" }) { conversation { title } } }",
            conversation.clone(),
            NotFound,
        ),
        (
            "resetConversation",
            "mutation($id: ID!) { resetConversation(input: { conversationId: $id }) { conversation { title } } }",
            conversation.clone(),
            NotFound,
        ),
        (
            "deleteConversation",
            "mutation($id: ID!) { deleteConversation(input: { conversationId: $id }) { deletedConversationId } }",
            conversation,
            NotFound,
        ),
    ]
}

/// An id of the same type that nothing ever had.
fn never_was(id: &str) -> String {
    let (prefix, _) = id.split_once('_').expect("a typed id");
    format!("{prefix}_AZ3r7gAAcACAAAAAAAAAAA")
}

/// The same case about things that never were.
fn about_nothing(variables: &Value) -> Value {
    match variables {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(id) if id.contains('_') && name == "id" => {
                    (name.clone(), json!(never_was(id)))
                }
                other => (name.clone(), about_nothing(other)),
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or(item.clone(), |id| json!(never_was(id)))
            })
            .collect(),
        other => other.clone(),
    }
}

/// Takes the second floor away, so that only the SQL's own conditions are left.
async fn without_policies(test: &TestDatabase) {
    sql(
        test,
        "do $$ declare name text; begin \
           for name in select tablename from pg_tables where schemaname = 'chat' and rowsecurity loop \
             execute format('alter table chat.%I disable row level security', name); \
           end loop; \
         end $$",
    )
    .await;
}

#[tokio::test]
async fn a_second_user_learns_nothing_through_any_root_field() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    learns_nothing(&replica).await;
}

#[tokio::test]
async fn a_second_user_learns_nothing_where_the_sql_alone_keeps_users_apart() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    without_policies(&test).await;
    learns_nothing(&replica).await;
}

async fn learns_nothing(replica: &Replica) {
    let api = Api::of(replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    api.start_chat(&bob, "bobs older").await;
    let secrets = secrets_of(&api, &alice).await;
    api.start_chat(&bob, "bobs newer").await;
    let whole = "{ viewer { id email conversations { totalCount nodes { id title updatedAt messages { \
        totalCount nodes { id content status } } } } } }";
    let before = api.data(&alice, whole, json!({})).await;

    for (field, document, variables, expected) in cases(&secrets) {
        let answer = api.ask(&bob, document, variables.clone()).await;
        assert!(!answer.to_string().contains(SECRET), "{field}: {answer}");
        assert!(!answer.to_string().contains("alice"), "{field}: {answer}");
        let expected = match expected {
            Expected::Own(data) => json!({ "data": data }),
            Expected::NotFound => api.ask(&bob, document, about_nothing(&variables)).await,
        };
        assert_eq!(answer, expected, "{field}");
    }
    let after = api.data(&alice, whole, json!({})).await;
    assert_eq!(before, after, "and changed nothing");
    let again = start_with_her_key(&api, &alice).await;
    assert_eq!(again, secrets.conversation, "nor took her key");
}

#[tokio::test]
async fn a_second_user_can_follow_no_message() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    follows_nothing(&replica).await;
}

#[tokio::test]
async fn a_second_user_can_follow_no_message_where_the_sql_alone_keeps_users_apart() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    without_policies(&test).await;
    follows_nothing(&replica).await;
}

async fn follows_nothing(replica: &Replica) {
    let api = Api::of(replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let secrets = secrets_of(&api, &alice).await;
    // One that is finished, one that is being written, and one that never was.
    let sent = api
        .data(
            &alice,
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"more\" }) { reply { id } } }",
            json!({ "id": secrets.conversation }),
        )
        .await;
    let writing = replica.desk.next().await;
    writing.say(SECRET);
    let running = text(&sent["sendMessage"]["reply"]["id"]);
    let document = "subscription($id: ID!) { messageStream(messageId: $id) { \
        ... on MessageDelta { text } ... on MessageChanged { message { content } } } }";
    let mut answers = Vec::new();
    for id in [secrets.reply.clone(), running, never_was(&secrets.reply)] {
        let mut events = api.subscribe(&bob, document, json!({ "id": id }));
        let event = within("an answer", events.next()).await.expect("an answer");
        assert!(!event.to_string().contains(SECRET), "{event}");
        assert_eq!(event["errors"][0]["extensions"]["code"], "NOT_FOUND");
        assert!(within("the end", events.next()).await.is_none());
        answers.push(event);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn cursors_of_another_users_history_are_refused_or_empty() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let secrets = secrets_of(&api, &alice).await;
    let own = api.start_chat(&bob, "own").await;
    let refusal = api
        .refusal(
            &bob,
            "query($id: ID!, $after: String) { viewer { conversation(id: $id) { messages(after: $after) { nodes { id } } } } }",
            json!({ "id": own, "after": secrets.message_cursor }),
        )
        .await;
    assert_eq!(refusal["code"], "BAD_USER_INPUT");
}

#[tokio::test]
async fn every_root_field_has_a_case() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let schema = api
        .data(
            &alice,
            "{ __schema { queryType { fields { name } } mutationType { fields { name } } \
               subscriptionType { fields { name } } } }",
            json!({}),
        )
        .await;
    let mut uncovered: BTreeSet<String> = ["queryType", "mutationType", "subscriptionType"]
        .into_iter()
        .flat_map(|root| {
            let fields = schema["__schema"][root]["fields"]
                .as_array()
                .expect("fields");
            fields
                .iter()
                .map(|field| text(&field["name"]))
                .collect::<Vec<_>>()
        })
        .collect();
    let secrets = secrets_of(&api, &alice).await;
    for (field, _, _, _) in cases(&secrets) {
        uncovered.remove(field);
    }
    // `a_second_user_can_follow_no_message`.
    uncovered.remove("messageStream");
    assert_eq!(
        uncovered,
        BTreeSet::new(),
        "root fields without an isolation case"
    );
}
