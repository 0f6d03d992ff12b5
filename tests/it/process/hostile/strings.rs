//! Every string and id that the schema takes, with what must not be in it.

use std::collections::BTreeSet;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{assert_harmless, ends_without_a_fault, still_answers};
use crate::{
    provider::FakeProvider,
    support::{
        TestDatabase,
        process::{Device, program},
    },
};

/// One string or id of the schema: where it stands, and an operation that puts `$it` there.
/// `$conversation` is a good id, `$message` that of a message that never was.
const STRINGS: &[(&str, &str)] = &[
    ("Query.node(id)", "query($it: ID!) { node(id: $it) { id } }"),
    (
        "Query.nodes(ids)",
        "query($it: ID!) { nodes(ids: [$it]) { id } }",
    ),
    (
        "Viewer.conversation(id)",
        "query($it: ID!) { viewer { conversation(id: $it) { id } } }",
    ),
    (
        "Viewer.conversations(after)",
        "query($it: String) { viewer { conversations(after: $it) { totalCount } } }",
    ),
    (
        "Viewer.conversations(before)",
        "query($it: String) { viewer { conversations(before: $it) { totalCount } } }",
    ),
    (
        "ConversationFilter.titleContains",
        "query($it: String) { viewer { conversations(filter: { titleContains: $it }) { totalCount } } }",
    ),
    (
        "Conversation.messages(after)",
        "query($it: String, $conversation: ID!) { viewer { conversation(id: $conversation) { messages(after: $it) { totalCount } } } }",
    ),
    (
        "Conversation.messages(before)",
        "query($it: String, $conversation: ID!) { viewer { conversation(id: $conversation) { messages(before: $it) { totalCount } } } }",
    ),
    (
        "StartChatInput.title",
        "mutation($it: String) { startChat(input: { title: $it }) { conversation { id } } }",
    ),
    (
        "StartChatInput.systemPrompt",
        "mutation($it: String) { startChat(input: { systemPrompt: $it }) { conversation { id } } }",
    ),
    (
        "StartChatInput.model",
        "mutation($it: String) { startChat(input: { model: $it }) { conversation { id } } }",
    ),
    (
        "StartChatInput.message",
        "mutation($it: String) { startChat(input: { message: $it }) { conversation { id } } }",
    ),
    (
        "StartChatInput.idempotencyKey",
        "mutation($it: String) { startChat(input: { idempotencyKey: $it }) { conversation { id } } }",
    ),
    (
        "SendMessageInput.conversationId",
        "mutation($it: ID!) { sendMessage(input: { conversationId: $it, content: \"x\" }) { reply { id } } }",
    ),
    (
        "SendMessageInput.content",
        "mutation($it: String!, $conversation: ID!) { sendMessage(input: { conversationId: $conversation, content: $it }) { reply { id } } }",
    ),
    (
        "SendMessageInput.model",
        "mutation($it: String, $conversation: ID!) { sendMessage(input: { conversationId: $conversation, content: \"x\", model: $it }) { reply { id } } }",
    ),
    (
        "SendMessageInput.idempotencyKey",
        "mutation($it: String, $conversation: ID!) { sendMessage(input: { conversationId: $conversation, content: \"x\", idempotencyKey: $it }) { reply { id } } }",
    ),
    (
        "StopReplyInput.messageId",
        "mutation($it: ID!) { stopReply(input: { messageId: $it }) { reply { id } } }",
    ),
    (
        "EditMessageInput.messageId",
        "mutation($it: ID!) { editMessage(input: { messageId: $it, content: \"x\" }) { reply { id } } }",
    ),
    (
        "EditMessageInput.content",
        "mutation($it: String!, $message: ID!) { editMessage(input: { messageId: $message, content: $it }) { reply { id } } }",
    ),
    (
        "EditMessageInput.idempotencyKey",
        "mutation($it: String, $message: ID!) { editMessage(input: { messageId: $message, content: \"x\", idempotencyKey: $it }) { reply { id } } }",
    ),
    (
        "RegenerateReplyInput.messageId",
        "mutation($it: ID!) { regenerateReply(input: { messageId: $it }) { reply { id } } }",
    ),
    (
        "RegenerateReplyInput.model",
        "mutation($it: String, $message: ID!) { regenerateReply(input: { messageId: $message, model: $it }) { reply { id } } }",
    ),
    (
        "RegenerateReplyInput.idempotencyKey",
        "mutation($it: String, $message: ID!) { regenerateReply(input: { messageId: $message, idempotencyKey: $it }) { reply { id } } }",
    ),
    (
        "SelectVersionInput.messageId",
        "mutation($it: ID!) { selectVersion(input: { messageId: $it }) { conversation { id } } }",
    ),
    (
        "RateMessageInput.messageId",
        "mutation($it: ID!) { rateMessage(input: { messageId: $it, rating: UP }) { message { id } } }",
    ),
    (
        "RateMessageInput.comment",
        "mutation($it: String, $message: ID!) { rateMessage(input: { messageId: $message, rating: UP, comment: $it }) { message { id } } }",
    ),
    (
        "UpdateConversationInput.conversationId",
        "mutation($it: ID!) { updateConversation(input: { conversationId: $it }) { conversation { id } } }",
    ),
    (
        "UpdateConversationInput.title",
        "mutation($it: String, $conversation: ID!) { updateConversation(input: { conversationId: $conversation, title: $it }) { conversation { id } } }",
    ),
    (
        "UpdateConversationInput.systemPrompt",
        "mutation($it: String, $conversation: ID!) { updateConversation(input: { conversationId: $conversation, systemPrompt: $it }) { conversation { id } } }",
    ),
    (
        "UpdateConversationInput.model",
        "mutation($it: String, $conversation: ID!) { updateConversation(input: { conversationId: $conversation, model: $it }) { conversation { id } } }",
    ),
    (
        "ResetConversationInput.conversationId",
        "mutation($it: ID!) { resetConversation(input: { conversationId: $it }) { conversation { id } } }",
    ),
    (
        "DeleteConversationInput.conversationId",
        "mutation($it: ID!) { deleteConversation(input: { conversationId: $it }) { deletedConversationId } }",
    ),
    (
        "Viewer.apiKeys(after)",
        "query($it: String) { viewer { apiKeys(after: $it) { totalCount } } }",
    ),
    (
        "CreateApiKeyInput.name",
        "mutation($it: String!) { createApiKey(input: { name: $it, scopes: [READ] }) { apiKey { id } } }",
    ),
    (
        "RevokeApiKeyInput.apiKeyId",
        "mutation($it: ID!) { revokeApiKey(input: { apiKeyId: $it }) { apiKey { id } } }",
    ),
    (
        "DeleteViewerInput.confirmExternalId",
        "mutation($it: String!) { deleteViewer(input: { confirmExternalId: $it }) { deletedViewerId } }",
    ),
    (
        "Admin.users(after)",
        "query($it: String) { admin { users(after: $it) { nodes { id } } } }",
    ),
    (
        "Admin.users(query)",
        "query($it: String) { admin { users(query: $it) { nodes { id } } } }",
    ),
    (
        "Admin.user(id)",
        "query($it: ID!) { admin { user(id: $it) { id } } }",
    ),
    (
        "SuspendUserInput.userId",
        "mutation($it: ID!) { suspendUser(input: { userId: $it }) { user { id } } }",
    ),
    (
        "RestoreUserInput.userId",
        "mutation($it: ID!) { restoreUser(input: { userId: $it }) { user { id } } }",
    ),
    (
        "DeleteUserInput.userId",
        "mutation($it: ID!) { deleteUser(input: { userId: $it }) { deletedUserId } }",
    ),
    (
        "Viewer.auditEvents(after)",
        "query($it: String) { viewer { auditEvents(after: $it) { nodes { id } } } }",
    ),
    (
        "Admin.auditEvents(after)",
        "query($it: String) { admin { auditEvents(after: $it) { nodes { id } } } }",
    ),
    (
        "Admin.auditEvents(userId)",
        "query($it: ID) { admin { auditEvents(userId: $it) { nodes { id } } } }",
    ),
    (
        "Subscription.messageStream(messageId)",
        "subscription($it: ID!) { messageStream(messageId: $it) { __typename } }",
    ),
    (
        "Subscription.conversationEvents(conversationId)",
        "subscription($it: ID!) { conversationEvents(conversationId: $it) { __typename } }",
    ),
];

const SECRET: &str = "a-secret-of-this-test-of-32-bytes-or-more";

/// An admin may put strings everywhere.
fn admins_token(user: &str) -> String {
    let claims = json!({ "sub": user, "admin": true, "exp": 4_000_000_000_u64 });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

/// Where the schema takes strings and ids, as it says itself.
async fn strings_of(device: &Device) -> BTreeSet<String> {
    let introspected = device
        .data(
            "{ __schema { types { name kind \
               fields { name args { name type { ...T } } } inputFields { name type { ...T } } } } } \
             fragment T on __Type { name ofType { name ofType { name ofType { name } } } }",
            json!({}),
        )
        .await;
    let is_text = |taken: &Value| {
        let mut inner = &taken["type"];
        while inner["ofType"].is_object() {
            inner = &inner["ofType"];
        }
        ["String", "ID"].contains(&inner["name"].as_str().unwrap_or_default())
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let mut found = BTreeSet::new();
    for object in list(&introspected["__schema"]["types"]) {
        let of = name(&object);
        if of.starts_with("__") {
            continue;
        }
        for field in list(&object["fields"]) {
            for argument in list(&field["args"]).iter().filter(|taken| is_text(taken)) {
                found.insert(format!("{of}.{}({})", name(&field), name(argument)));
            }
        }
        for field in list(&object["inputFields"])
            .iter()
            .filter(|taken| is_text(taken))
        {
            found.insert(format!("{of}.{}", name(field)));
        }
    }
    found
}

#[tokio::test]
async fn every_string_of_the_schema_is_checked_over_both_transports() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("JWT_SECRET_KEY", SECRET)
        .variable("JWT_ADMIN_CLAIM", "admin")
        .serve()
        .await;
    let device = Device::with_token(&server, &admins_token("mallory"));
    let tried: BTreeSet<String> = STRINGS.iter().map(|(at, _)| (*at).to_owned()).collect();
    assert_eq!(
        tried,
        strings_of(&device).await,
        "a new one needs a case here"
    );
    let conversation = device.start_chat().await;
    let foreign = Device::with_token(&server, &admins_token("bob"))
        .start_chat()
        .await;
    let mut socket = device.socket().await;

    for &(at, document) in STRINGS {
        let is_id = document.contains("$it: ID");
        let is_cursor = at.contains("(after)") || at.contains("(before)");
        let mut values = vec!["\0".to_owned(), "a\0b".to_owned(), "x".repeat(150_000)];
        if is_id || is_cursor {
            values.extend(
                [
                    "",
                    "x",
                    "msg_",
                    "conv_AAAA",
                    "' or 1=1 --",
                    "../../etc/passwd",
                    "🍊",
                    "%00",
                ]
                .map(str::to_owned),
            );
            // Good digits with padding, too many of them, and of a type that is none.
            values.push(format!("{conversation}="));
            values.push(format!("{conversation}A"));
            values.push(conversation.replace("conv_", "chat_"));
        }
        if is_cursor {
            values.extend([conversation.clone(), "_".repeat(32), "A".repeat(38)]);
        }
        for value in values {
            let what = format!("{at} = {}", value.chars().take(20).collect::<String>());
            let declared: &[(&str, &str)] = &[
                ("it", &value),
                ("conversation", &conversation),
                ("message", "msg_AZ3r7gAAcACAAAAAAAAAAA"),
            ];
            let variables: Value = declared
                .iter()
                .filter(|(name, _)| document.contains(&format!("${name}:")))
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            socket
                .send(json!({ "type": "subscribe", "id": "hostile", "payload": {
                    "query": document, "variables": variables,
                } }))
                .await;
            let message = socket.next().await;
            let over_socket = match message["type"].as_str() {
                Some("error") => message["payload"].clone(),
                Some("next") => {
                    assert_eq!(socket.next().await["type"], "complete");
                    message["payload"]["errors"].clone()
                }
                _ => panic!("{what}: {message}"),
            };
            assert_harmless(&what, &over_socket);
            let extensions = &over_socket[0]["extensions"];
            assert_eq!(extensions["code"], "BAD_USER_INPUT", "{what}: {message}");
            let named = at
                .rsplit(['.', '('])
                .next()
                .expect("a name")
                .trim_end_matches(')');
            assert_eq!(extensions["argument"], named, "{what}: {message}");
            if !at.starts_with("Subscription") {
                let answer = device.answer(document, variables).await;
                assert_eq!(answer.status, 200, "{what}: {answer:?}");
                assert_eq!(answer.body["errors"], over_socket, "{what}");
            }
        }
    }
    // Another user's good id is as if it were nobody's.
    let data = device
        .data(
            "query($it: ID!) { node(id: $it) { id } }",
            json!({ "it": foreign }),
        )
        .await;
    assert_eq!(data["node"], Value::Null);
    let data = device
        .data("{ viewer { conversations { totalCount } } }", json!({}))
        .await;
    assert_eq!(data["viewer"]["conversations"]["totalCount"], 1);
    assert!(model.requests().is_empty());
    still_answers(&device).await;
    ends_without_a_fault(server).await;
}
