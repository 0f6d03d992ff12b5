//! The owner-scoped store, with everything above it taken away.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use loquat::{
    auth::{Identity, Issued, PolicyClaims},
    db::{Database, NewConversation, NewMessage, Viewer, ViewerTx},
    model::{Conversation, ConversationId, Message, MessageId, MessageRole, MessageStatus},
};
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use crate::support::{TestDatabase, identity, sign_in, sign_in_as};

async fn conversation_of(database: &Database, viewer: &Viewer, title: &str) -> Conversation {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    let conversation = tx
        .insert_conversation(&NewConversation {
            id: ConversationId::new(),
            title: Some(title.to_owned()),
            system_prompt: None,
            model: None,
        })
        .await
        .expect("a conversation");
    tx.commit().await.expect("a commit");
    conversation
}

async fn message_in(tx: &mut ViewerTx, conversation: ConversationId) -> Result<Message, String> {
    tx.insert_message(&NewMessage {
        id: MessageId::new(),
        conversation_id: conversation,
        parent_id: None,
        position: 0,
        role: MessageRole::User,
        content: "hello".to_owned(),
        status: MessageStatus::Completed,
        model: None,
        idempotency_key: None,
    })
    .await
    .map_err(|error| format!("{error:?}"))
}

/// How many conversations the viewer's own transaction counts.
async fn seen_by(database: &Database, viewer: &Viewer) -> i64 {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    let count = tx
        .count_conversations(&Default::default())
        .await
        .expect("a count");
    tx.commit().await.expect("a commit");
    count
}

#[tokio::test]
async fn every_key_begins_with_the_owner_and_every_reference_carries_it() {
    let test = TestDatabase::create().await;
    test.open().await;
    let mut connection = test.superuser().await;
    let rows = sqlx::query(
        "select c.conrelid::regclass::text as of, c.contype::text as kind, \
           (select a.attname::text from pg_attribute a \
            where a.attrelid = c.conrelid and a.attnum = c.conkey[1]) as first_column \
         from pg_constraint c join pg_class t on t.oid = c.conrelid \
         where t.relnamespace = 'chat'::regnamespace and c.contype in ('p', 'f') \
           and t.relname not in ('migrations', 'server_keys')",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    assert!(rows.len() >= 12, "the catalogue was read");
    for row in rows {
        let (of, kind, first): (String, String, String) =
            (row.get("of"), row.get("kind"), row.get("first_column"));
        assert_eq!(first, "user_id", "{of} has a key of kind {kind}");
    }
    let unguarded: i64 = sqlx::query_scalar(
        "select count(*) from pg_class where relnamespace = 'chat'::regnamespace and relkind = 'r' \
         and relname <> 'migrations' and not (relrowsecurity and relforcerowsecurity)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the catalogue");
    assert_eq!(unguarded, 0, "every table has its policies forced");
}

#[tokio::test]
async fn rows_are_hidden_even_where_the_sql_forgets_its_owner() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let (alice, bob) = (
        sign_in(&database, "alice").await,
        sign_in(&database, "bob").await,
    );
    conversation_of(&database, &alice, "secret").await;
    conversation_of(&database, &bob, "own").await;

    // What a viewer's transaction sets, by hand, and SQL without any owner in it.
    let mut connection = test.superuser().await;
    let mut tx = connection.begin().await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set local role loquat_viewer; select set_config('loquat.user_id', '{}', true)",
        bob.user_id()
    )))
    .execute(&mut *tx)
    .await
    .expect("the role");
    let titles: Vec<String> = sqlx::query_scalar("select title from chat.conversations")
        .fetch_all(&mut *tx)
        .await
        .expect("titles");
    assert_eq!(titles, ["own"]);
    let changed = sqlx::query("update chat.conversations set title = 'taken'")
        .execute(&mut *tx)
        .await
        .expect("an update");
    assert_eq!(changed.rows_affected(), 1);
    let deleted = sqlx::query("delete from chat.conversations where title = 'secret'")
        .execute(&mut *tx)
        .await
        .expect("a deletion");
    assert_eq!(deleted.rows_affected(), 0);
    let forged = sqlx::query(
        "insert into chat.conversations (user_id, id, created_at, updated_at, last_active_at) \
         values ($1, $2, now(), now(), now())",
    )
    .bind(alice.user_id().uuid())
    .bind(Uuid::now_v7())
    .execute(&mut *tx)
    .await;
    assert!(forged.is_err(), "a row for another user is refused");
}

#[tokio::test]
async fn a_transaction_without_a_user_sees_nothing() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let alice = sign_in(&database, "alice").await;
    conversation_of(&database, &alice, "secret").await;
    let mut connection = test.superuser().await;
    // Once with a setting that was never made, once with what is left of an earlier one.
    for before in ["select 1", "select set_config('loquat.user_id', '', false)"] {
        sqlx::raw_sql(AssertSqlSafe(before.to_owned()))
            .execute(&mut connection)
            .await
            .expect("a setting");
        let mut tx = connection.begin().await.expect("a transaction");
        sqlx::raw_sql("set local role loquat_viewer")
            .execute(&mut *tx)
            .await
            .expect("the role");
        for table in [
            "users",
            "conversations",
            "messages",
            "replies",
            "reply_chunks",
            "idempotency_keys",
        ] {
            let count: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from chat.{table}")))
                    .fetch_one(&mut *tx)
                    .await
                    .expect("a count");
            assert_eq!(count, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn the_keys_refuse_a_message_in_another_users_conversation() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let (alice, bob) = (
        sign_in(&database, "alice").await,
        sign_in(&database, "bob").await,
    );
    let conversation = conversation_of(&database, &alice, "secret").await;
    let mut tx = database.viewer_tx(&bob).await.expect("a transaction");
    let refused = message_in(&mut tx, conversation.id)
        .await
        .expect_err("refused");
    assert!(refused.contains("23503"), "by the foreign key: {refused}");

    // And as a superuser, past row level security, the keys alone.
    let mut connection = test.superuser().await;
    let refused = sqlx::query(
        "insert into chat.messages (user_id, id, conversation_id, active, position, role, content, \
           status, created_at, completed_at) \
         values ($1, $2, $3, true, 0, 'USER', 'x', 'COMPLETED', now(), now())",
    )
    .bind(bob.user_id().uuid())
    .bind(Uuid::now_v7())
    .bind(conversation.id.uuid())
    .execute(&mut connection)
    .await
    .expect_err("refused");
    assert_eq!(
        refused.as_database_error().and_then(|error| error.code()),
        Some("23503".into())
    );
}

#[tokio::test]
async fn the_system_can_read_no_text() {
    let test = TestDatabase::create().await;
    test.open().await;
    let mut connection = test.superuser().await;
    for query in [
        "select content from chat.messages",
        "select text from chat.reply_chunks",
        "select title from chat.conversations",
        "update chat.messages set content = ''",
    ] {
        let mut tx = connection.begin().await.expect("a transaction");
        sqlx::raw_sql("set local role loquat_system")
            .execute(&mut *tx)
            .await
            .expect("the role");
        let refused = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .execute(&mut *tx)
            .await
            .expect_err(query);
        assert_eq!(
            refused.as_database_error().and_then(|error| error.code()),
            Some("42501".into()),
            "{query}"
        );
    }
    for table in ["users", "conversations", "messages", "replies"] {
        let mut tx = connection.begin().await.expect("a transaction");
        sqlx::raw_sql("set local role loquat_admin")
            .execute(&mut *tx)
            .await
            .expect("the role");
        let refused = sqlx::raw_sql(AssertSqlSafe(format!("select * from chat.{table}")))
            .execute(&mut *tx)
            .await;
        assert!(refused.is_err(), "an admin reads chat.{table}");
    }
}

/// Drops the future when it would be polled for the `polls`-th time and one more, which is to say
/// at each of its awaits in turn. Whether it was done before.
async fn cancelled_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn no_cancellation_leaves_a_connection_inside_a_viewers_transaction() {
    let test = TestDatabase::create().await;
    // One connection, so that whatever is left of one user's transaction meets the next user.
    let database = test.open_with(1).await;
    let (alice, bob) = (
        sign_in(&database, "alice").await,
        sign_in(&database, "bob").await,
    );
    conversation_of(&database, &alice, "one").await;
    conversation_of(&database, &alice, "two").await;

    let mut finished = 0;
    for polls in 0..40 {
        let work = async {
            let mut tx = database.viewer_tx(&alice).await.expect("a transaction");
            tx.count_conversations(&Default::default())
                .await
                .expect("a count");
            message_in(&mut tx, ConversationId::new()).await.ok();
            tx.commit().await.ok();
        };
        finished += usize::from(cancelled_after(polls, work).await);
        assert_eq!(seen_by(&database, &bob).await, 0, "after {polls} polls");
        assert_eq!(seen_by(&database, &alice).await, 2, "after {polls} polls");
    }
    assert!(
        (1..40).contains(&finished),
        "some were cut and some were not"
    );
}

#[tokio::test]
async fn hostile_claims_are_text_and_nothing_else() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let mut connection = test.superuser().await;
    for hostile in [
        "'; drop schema chat cascade; --",
        "\\'; reset role; select set_config('loquat.user_id', null, false); --",
        "$$; commit; $$",
        "\u{1F34A}\"\\u0000\\\n\r\t",
        "', true), set_config('role', 'postgres",
    ] {
        let viewer = sign_in_as(
            &database,
            &Identity {
                issuer: hostile.to_owned(),
                external_id: hostile.to_owned(),
                email: Some(hostile.to_owned()),
                display_name: Some(hostile.to_owned()),
                claims: PolicyClaims {
                    sub: hostile.to_owned(),
                    role: Some(hostile.to_owned()),
                    iss: Some(hostile.to_owned()),
                },
                is_admin: false,
                issued: Issued::Now,
                expires_at: None,
            },
        )
        .await;
        let mut tx = database.viewer_tx(&viewer).await.expect("a transaction");
        let user = tx.user().await.expect("a query").expect("the user");
        assert_eq!(user.external_id, hostile);
        assert_eq!(user.display_name.as_deref(), Some(hostile));
        tx.commit().await.expect("a commit");
        conversation_of(&database, &viewer, hostile).await;
        assert_eq!(seen_by(&database, &viewer).await, 1);
    }
    let users: i64 = sqlx::query_scalar("select count(*) from chat.users")
        .fetch_one(&mut connection)
        .await
        .expect("the schema still stands");
    assert_eq!(users, 5);
}

#[tokio::test]
async fn supabase_policies_see_the_claims_of_the_token() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let mut connection = test.superuser().await;
    // What Supabase's auth.uid() and auth.role() read.
    sqlx::raw_sql(
        "create schema auth; grant usage on schema auth to public; \
         create function auth.uid() returns text language sql stable as \
           $$ select current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$; \
         create policy only_bob on chat.conversations as restrictive to loquat_viewer \
           using (auth.uid() = 'bob') with check (auth.uid() = 'bob')",
    )
    .execute(&mut connection)
    .await
    .expect("a policy");
    let (alice, bob) = (
        sign_in(&database, "alice").await,
        sign_in(&database, "bob").await,
    );
    conversation_of(&database, &bob, "own").await;
    assert_eq!(seen_by(&database, &bob).await, 1);
    let mut tx = database.viewer_tx(&alice).await.expect("a transaction");
    let refused = tx
        .insert_conversation(&NewConversation {
            id: ConversationId::new(),
            title: None,
            system_prompt: None,
            model: None,
        })
        .await;
    assert!(refused.is_err(), "the policy of the database's owner holds");
}

#[tokio::test]
async fn a_user_is_made_once_and_refreshed_by_claims() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let at_once = futures_util::future::join_all((0..5).map(|_| sign_in(&database, "alice"))).await;
    let id = at_once[0].user_id();
    assert!(at_once.iter().all(|viewer| viewer.user_id() == id));

    let mut renamed = identity("alice");
    renamed.display_name = Some("Alice".to_owned());
    renamed.email = None;
    let viewer = sign_in_as(&database, &renamed).await;
    let mut tx = database.viewer_tx(&viewer).await.expect("a transaction");
    let user = tx.user().await.expect("a query").expect("the user");
    assert_eq!(user.display_name.as_deref(), Some("Alice"));
    assert_eq!(
        user.email.as_deref(),
        Some("alice@example.com"),
        "an absent claim takes nothing away"
    );
    tx.commit().await.expect("a commit");

    // Nothing to refresh: no write, so the row's version stays.
    let mut connection = test.superuser().await;
    let version = "select xmin::text from chat.users";
    let before: String = sqlx::query_scalar(version)
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    sign_in(&database, "alice").await;
    let after: String = sqlx::query_scalar(version)
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert_eq!(before, after);

    let mut elsewhere = identity("alice");
    elsewhere.issuer = "another".to_owned();
    let other = sign_in_as(&database, &elsewhere).await;
    assert_ne!(
        other.user_id(),
        id,
        "the same name from two issuers is two users"
    );
}
