//! A deleted user is gone with everything that was theirs, whatever happens on the way, and
//! nothing brings them back.

mod ends;
mod tokens;

use std::collections::BTreeMap;

use loquat::{
    chat::{ChatError, StartChat},
    db::{DbError, Viewer},
    model::{ConversationId, UserId},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use crate::{
    api_keys::{bearer, key_with},
    support::{Api, Replica, SqlGate, TestDatabase, eventually, sql},
};

const DELETE: &str = "mutation($id: String!) { deleteViewer(input: { confirmExternalId: $id }) \
    { deletedViewerId } }";

/// Keeps that somebody was deleted, and not who. What the audit log keeps, it keeps under another
/// id.
const KEPT: &str = "tombstones";

/// How many rows each table holds of this user.
async fn rows_of(test: &TestDatabase, user_id: UserId) -> BTreeMap<String, i64> {
    let mut connection = test.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid \
         where c.relnamespace = 'chat'::regnamespace and c.relkind = 'r' and a.attname = 'user_id'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    let mut rows = BTreeMap::new();
    for table in tables {
        let count = format!("select count(*) from chat.{table} where user_id = '{user_id}'");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut connection)
            .await
            .expect("a count");
        rows.insert(table, count);
    }
    rows
}

async fn is_gone(test: &TestDatabase, user_id: UserId) -> bool {
    let rows = rows_of(test, user_id).await;
    rows.iter()
        .all(|(table, count)| *count == 0 || table == KEPT)
}

/// Waits until nothing is left, which most often is so already.
async fn gone(test: &TestDatabase, user_id: UserId) {
    eventually("everything is gone", || async {
        is_gone(test, user_id).await.then_some(())
    })
    .await;
}

/// How far a deletion is, past every policy: whether the row of the user is there, and scrubbed.
async fn is_acknowledged(test: &TestDatabase, user_id: UserId) -> bool {
    let row = sqlx::query(
        "select deleted_at, issuer, external_id, email, display_name from chat.users where user_id = $1",
    )
    .bind(user_id.uuid())
    .fetch_optional(&mut test.superuser().await)
    .await
    .expect("a row");
    row.is_none_or(|row| {
        let deleted: Option<chrono::DateTime<chrono::Utc>> = row.get("deleted_at");
        for column in ["issuer", "external_id", "email", "display_name"] {
            let left: Option<String> = row.get(column);
            assert!(deleted.is_none() || left.is_none(), "{column}: {left:?}");
        }
        deleted.is_some()
    })
}

/// Two conversations, one with an exchange, an idempotency key and an API key.
async fn some_of_everything(api: &Api<'_>, viewer: &Viewer) -> String {
    let conversation = api.start_chat(viewer, "first").await;
    api.exchange(viewer, &conversation, "hello").await;
    api.data(
        viewer,
        "mutation { startChat(input: { title: \"second\", idempotencyKey: \"key\" }) { conversation { id } } }",
        json!({}),
    )
    .await;
    key_with(api, viewer, json!(["READ"])).await;
    conversation
}

const SEND: &str = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"more\" }) \
    { reply { id } } }";

#[tokio::test]
async fn everything_of_a_deleted_user_goes_and_nothing_of_anybody_else() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    some_of_everything(&api, &bob).await;
    let conversation = some_of_everything(&api, &alice).await;
    api.data(&alice, SEND, json!({ "id": conversation })).await;
    let writing = replica.desk.next().await;
    writing.say("begun");
    eventually("the text is written down", || async {
        (rows_of(&test, alice.user_id()).await["reply_chunks"] > 0).then_some(())
    })
    .await;
    let of_alice = rows_of(&test, alice.user_id()).await;
    for table in [
        "users",
        "conversations",
        "messages",
        "replies",
        "reply_chunks",
        "idempotency_keys",
        "api_keys",
        "usage",
        "audit_log",
    ] {
        assert!(of_alice[table] > 0, "{table}");
    }
    let of_bob = rows_of(&test, bob.user_id()).await;

    let id = api.data(&alice, "{ viewer { id } }", json!({})).await;
    let deleted = api.data(&alice, DELETE, json!({ "id": "alice" })).await;
    assert_eq!(
        deleted["deleteViewer"]["deletedViewerId"],
        id["viewer"]["id"]
    );

    gone(&test, alice.user_id()).await;
    writing.hung_up().await;
    assert_eq!(rows_of(&test, bob.user_id()).await, of_bob);
    // Whoever still holds on to the session has nothing and can make nothing.
    let refused = api
        .refusal(&alice, SEND, json!({ "id": conversation }))
        .await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let refused = api
        .refusal(
            &alice,
            "mutation { startChat(input: {}) { conversation { id } } }",
            json!({}),
        )
        .await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let refused = api.refusal(&alice, DELETE, json!({ "id": "alice" })).await;
    assert_eq!(refused["code"], "NOT_FOUND");
    assert!(is_gone(&test, alice.user_id()).await);
}

#[tokio::test]
async fn a_deletion_needs_the_external_id_letter_by_letter_and_a_user_in_person() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    api.start_chat(&alice, "kept").await;
    let before = rows_of(&test, alice.user_id()).await;
    for wrong in [
        "Alice".to_owned(),
        "alice ".to_owned(),
        String::new(),
        "bob".to_owned(),
        "alice\0".to_owned(),
        "a".repeat(256),
    ] {
        let refused = api.refusal(&alice, DELETE, json!({ "id": wrong })).await;
        assert_eq!(
            refused,
            json!({ "code": "BAD_USER_INPUT", "argument": "confirmExternalId" }),
            "{wrong:?}"
        );
    }
    for scopes in [json!(["WRITE"]), json!(["READ", "WRITE"])] {
        let key = key_with(&api, &alice, scopes).await;
        let program = bearer(&replica, &key).await;
        let refused = api
            .refusal(&program, DELETE, json!({ "id": "alice" }))
            .await;
        assert_eq!(refused["code"], "FORBIDDEN");
    }
    let after = rows_of(&test, alice.user_id()).await;
    assert_eq!(after["users"], before["users"]);
    assert_eq!(after["conversations"], before["conversations"]);
    assert_eq!(after["tombstones"], 0);
}

#[tokio::test]
async fn a_user_with_very_much_is_deleted_in_small_steps() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let alice = replica.viewer("alice").await;
    let id = alice.user_id();
    // One long conversation, whose messages follow one another, and many short ones.
    sql(
        &test,
        &format!(
            "create function pg_temp.nth(kind int, n int) returns uuid language sql as \
               $$ select ('0197' || lpad(to_hex(kind), 4, '0') || lpad(to_hex(n), 24, '0'))::uuid $$; \
             insert into chat.conversations (user_id, id, created_at, updated_at, last_active_at) \
               select '{id}', pg_temp.nth(1, n), now(), now(), now() from generate_series(0, 120) n; \
             insert into chat.messages (user_id, id, conversation_id, parent_id, active, position, \
                 role, content, status, created_at, completed_at) \
               select '{id}', pg_temp.nth(2, n), pg_temp.nth(1, 0), \
                 case when n > 0 then pg_temp.nth(2, n - 1) end, true, n, 'USER', 'text', \
                 'COMPLETED', now(), now() from generate_series(0, 2999) n; \
             insert into chat.messages (user_id, id, conversation_id, active, position, \
                 role, content, status, created_at, completed_at) \
               select '{id}', pg_temp.nth(3, n), pg_temp.nth(1, n), true, 0, 'USER', 'text', \
                 'COMPLETED', now(), now() from generate_series(1, 120) n; \
             insert into chat.idempotency_keys (user_id, operation, key, fingerprint) \
               select '{id}', 'startChat', n::text, '' from generate_series(1, 2500) n; \
             insert into chat.usage (user_id, id, prompt_tokens, completion_tokens, total_tokens) \
               select '{id}', pg_temp.nth(4, n), 1, 1, 2 from generate_series(1, 2500) n; \
             create sequence chat.most_at_once; \
             create function chat.count_rows() returns trigger language plpgsql security definer as $$ \
               begin \
                 if (select count(*) from gone) > (select last_value from chat.most_at_once) then \
                   perform setval('chat.most_at_once', (select count(*) from gone)); \
                 end if; \
                 return null; \
               end $$; \
             create trigger counted after delete on chat.messages referencing old table as gone \
               for each statement execute function chat.count_rows(); \
             create trigger counted after delete on chat.idempotency_keys referencing old table as gone \
               for each statement execute function chat.count_rows(); \
             create trigger counted after delete on chat.usage referencing old table as gone \
               for each statement execute function chat.count_rows()"
        ),
    )
    .await;
    let api = Api::of(&replica);
    api.data(&alice, DELETE, json!({ "id": "alice" })).await;
    gone(&test, id).await;
    let most: i64 = sqlx::query_scalar("select last_value from chat.most_at_once")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a number");
    assert_eq!(most, 1000, "rows that one statement took away");
}

#[tokio::test]
async fn what_the_user_stores_during_the_deletion_goes_too() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let alice = replica.viewer("alice").await;
    let conversation = replica.conversation(&alice).await;
    let busy = futures_util::future::join_all((0..4).map(|_| async {
        // Until the user is gone, for which these transactions wait for one another.
        loop {
            let sent = replica.send(&alice, conversation, "meanwhile").await;
            let started = replica
                .chat
                .start_chat(
                    &alice,
                    StartChat {
                        message: Some("meanwhile".to_owned()),
                        idempotency_key: Some(ConversationId::new().to_string()),
                        ..StartChat::default()
                    },
                )
                .await;
            drop(sent);
            match started {
                // Nobody answers, so they may come to that before the user is gone.
                Ok(_) | Err(ChatError::TooManyReplies(_)) => {}
                Err(ChatError::Database(DbError::UserGone { .. })) => return,
                // A deadlock that PostgreSQL resolved is tried again by its client.
                Err(ChatError::Database(error)) if error.is_unavailable() => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }));
    let api = Api::of(&replica);
    let deletion = async {
        // Let them get going.
        for _ in 0..3 {
            replica.desk.next().await;
        }
        api.data(&alice, DELETE, json!({ "id": "alice" })).await
    };
    tokio::join!(busy, deletion);
    gone(&test, alice.user_id()).await;
}

/// A gate before the conversations of the second phase.
const GATE: i64 = 4711;

async fn gate_before_erasure(test: &TestDatabase) -> SqlGate {
    let gate = SqlGate::closed(test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for delete to loquat_viewer using ({})",
        SqlGate::passed(GATE)
    );
    sql(test, &policy).await;
    gate
}
