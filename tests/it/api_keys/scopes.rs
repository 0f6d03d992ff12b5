//! What each scope opens, and that PostgreSQL keeps the rest shut too.

use std::error::Error;

use futures_util::StreamExt;
use loquat::{
    accounts::AccountsError,
    chat::{ChatError, StartChat},
    db::{ConversationChanges, DbError},
    model::ApiKeyId,
};
use serde_json::{Value, json};

use super::{bearer, key_with, sign_in_by};
use crate::support::{Api, Replica, TestDatabase, within};

#[tokio::test]
async fn each_scope_opens_its_own_part_of_the_schema() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.admin("alice").await;
    let conversation = api.start_chat(&alice, "a title").await;
    let [_, reply] = api.exchange(&alice, &conversation, "hello").await;
    let query = "query($id: ID!) { viewer { id } models { name } node(id: $id) { id } }";
    let mutation = "mutation($id: ID!) { \
        one: updateConversation(input: { conversationId: $id, title: \"new\" }) { conversation { title } } \
        two: startChat(input: {}) { conversation { title } } }";
    let stop = "mutation($id: ID!) { stopReply(input: { messageId: $id }) { reply { status } } }";
    let subscription = "subscription($id: ID!) { messageStream(messageId: $id) { __typename } }";
    let conversation_events =
        "subscription($id: ID!) { conversationEvents(conversationId: $id) { __typename } }";
    let viewer_events = "subscription { viewerEvents { __typename } }";
    let forbidden = |answer: &Value, path: Value| {
        let errors = answer["errors"].as_array();
        errors.into_iter().flatten().any(|error| {
            error["extensions"]["code"] == "FORBIDDEN"
                && error["path"] == path
                && error["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("scope"))
        })
    };

    let scopes = [json!(["READ"]), json!(["WRITE"]), json!(["ADMIN"])];
    for (scopes, reads, writes) in [
        (&scopes[0], true, false),
        (&scopes[1], true, true),
        (&scopes[2], false, false),
    ] {
        let secret = key_with(&api, &alice, scopes.clone()).await;
        let viewer = bearer(&replica, &secret).await;
        let id = json!({ "id": conversation });

        let answer = api.ask(&viewer, query, id.clone()).await;
        if reads {
            assert_eq!(answer["data"]["node"]["id"], conversation, "{answer}");
        } else {
            assert_eq!(answer["data"], Value::Null, "{answer}");
            assert!(forbidden(&answer, json!(["viewer"])), "{answer}");
        }
        // Nullable fields leave the rest of the answer standing.
        let node = "query($id: ID!) { __typename again: node(id: $id) { id } }";
        let answer = api.ask(&viewer, node, id.clone()).await;
        assert_eq!(answer["data"]["__typename"], "Query");
        assert_eq!(forbidden(&answer, json!(["again"])), !reads);

        let answer = api.ask(&viewer, mutation, id).await;
        if writes {
            assert_eq!(
                answer["data"]["one"]["conversation"]["title"], "new",
                "{answer}"
            );
            assert_eq!(answer.get("errors"), None, "{answer}");
        } else {
            assert_eq!(
                answer["data"],
                json!({ "one": null, "two": null }),
                "{answer}"
            );
            assert!(forbidden(&answer, json!(["one"])), "{answer}");
            assert!(forbidden(&answer, json!(["two"])), "{answer}");
        }

        let answer = api.ask(&viewer, stop, json!({ "id": reply })).await;
        if writes {
            let status = &answer["data"]["stopReply"]["reply"]["status"];
            assert_eq!(status, "COMPLETED", "{answer}");
        } else {
            assert!(forbidden(&answer, json!(["stopReply"])), "{answer}");
        }

        for (field, subscription, variables) in [
            ("messageStream", subscription, json!({ "id": reply })),
            (
                "conversationEvents",
                conversation_events,
                json!({ "id": conversation }),
            ),
            ("viewerEvents", viewer_events, json!({})),
        ] {
            let mut events = api.subscribe(&viewer, subscription, variables);
            let event = within("an event", events.next()).await.expect("an event");
            if reads {
                assert_eq!(event.get("errors"), None, "{event}");
            } else {
                assert!(forbidden(&event, json!([field])), "{event}");
                assert!(within("the end", events.next()).await.is_none());
            }
        }
    }
}

#[tokio::test]
async fn what_a_credential_may_not_do_stops_nothing_else_in_the_document() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let secret = key_with(&api, &alice, json!(["WRITE"])).await;
    let viewer = bearer(&replica, &secret).await;
    let answer = api
        .ask(
            &viewer,
            "mutation { \
               before: startChat(input: { title: \"before\" }) { conversation { title } } \
               createApiKey(input: { name: \"another\", scopes: [READ] }) { secret } \
               after: startChat(input: { title: \"after\" }) { conversation { title } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        answer["data"],
        json!({
            "before": { "conversation": { "title": "before" } },
            "createApiKey": null,
            "after": { "conversation": { "title": "after" } },
        })
    );
    let errors = answer["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 1, "{answer}");
    assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(errors[0]["path"], json!(["createApiKey"]));
}

#[tokio::test]
async fn postgresql_itself_refuses_what_a_reading_key_would_write() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let conversation = replica.conversation(&alice).await;
    for scopes in [json!(["READ"]), json!(["ADMIN", "READ"])] {
        let alice = replica.admin("alice").await;
        let secret = key_with(&api, &alice, scopes).await;
        let viewer = bearer(&replica, &secret).await;
        // Past the schema, as if a resolver had forgotten to ask.
        let session = sign_in_by(&replica, &secret).await.expect("a session");
        let started = replica.chat.start_chat(&viewer, StartChat::default()).await;
        let changed = replica
            .chat
            .update_conversation(&viewer, conversation, changes("taken"))
            .await;
        let sent = replica.send(&viewer, conversation, "hi").await;
        let deleted = replica
            .chat
            .delete_conversation(&viewer, conversation)
            .await;
        let revoked = replica
            .accounts
            .revoke_api_key(&session, ApiKeyId::new())
            .await;
        for (what, refused) in [
            ("start", started.err()),
            ("change", changed.err()),
            ("send", sent.err()),
            ("delete", deleted.err()),
        ] {
            let Some(ChatError::Database(error)) = refused else {
                panic!("{what}: {refused:?}");
            };
            assert!(is_read_only(&error), "{what}: {error:?}");
        }
        let Err(AccountsError::Database(error)) = revoked else {
            panic!("{revoked:?}");
        };
        assert!(is_read_only(&error), "{error:?}");
        // And it reads.
        let found = replica.chat.conversations(&viewer, &[conversation]).await;
        assert_eq!(found.expect("a list").len(), 1);
    }
}

fn changes(title: &str) -> ConversationChanges {
    ConversationChanges {
        title: Some(Some(title.to_owned())),
        ..Default::default()
    }
}

/// «cannot execute … in a read-only transaction»
fn is_read_only(error: &DbError) -> bool {
    let source = error.source().expect("a cause");
    let error = source.downcast_ref::<sqlx::Error>().expect("of sqlx");
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("25006")
}
