//! Each floor by itself, on every table that PostgreSQL's catalogue lists: a table that is added
//! cannot be forgotten.

mod keys;
mod policies;
mod roles;
mod rows;

use std::collections::BTreeMap;

use keys::{REFERENCES, columns};
use serde_json::json;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    stage::{Credential, Stage},
    things::{OWNER, Things},
};
use crate::support::eventually;

/// Tables without an owner, and why. No viewer may do anything to them.
const OWNERLESS: &[(&str, &str)] = &[
    ("migrations", "the versions of the schema"),
    ("server_keys", "the server's own secrets"),
];

/// Two users who have a row in every table that may hold one.
struct Town {
    _stage: Stage,
    connection: PgConnection,
    alice: Uuid,
    bob: Uuid,
    _things: [Things; 2],
}

impl Town {
    async fn peopled() -> Self {
        let stage = Stage::set(&[]).await;
        let things = [
            Things::of(&stage, OWNER).await,
            Things::of(&stage, "bob").await,
        ];
        for user in [OWNER, "bob"] {
            delete_a_conversation(&stage, user).await;
        }
        let mut connection = stage.test.superuser().await;
        eventually("both replies are written down", || async {
            let mut connection = stage.test.superuser().await;
            let written = "select count(distinct user_id) from chat.reply_chunks";
            let users: i64 = sqlx::query_scalar(written)
                .fetch_one(&mut connection)
                .await
                .expect("a count");
            (users == 2).then_some(())
        })
        .await;
        let ids: BTreeMap<String, Uuid> =
            sqlx::query_as("select external_id, user_id from chat.users")
                .fetch_all(&mut connection)
                .await
                .expect("users")
                .into_iter()
                .collect();
        Self {
            alice: ids[OWNER],
            bob: ids["bob"],
            _stage: stage,
            connection,
            _things: things,
        }
    }

    async fn rows(&mut self, statement: &'static str) -> Vec<PgRow> {
        let rows = sqlx::query(statement).fetch_all(&mut self.connection).await;
        let rows = rows.expect("the catalogue");
        assert!(!rows.is_empty(), "{statement}");
        rows
    }

    /// Every table with an owner.
    async fn tables(&mut self) -> Vec<String> {
        let rows = self
            .rows("select relname::text as name from pg_class where relnamespace = 'chat'::regnamespace and relkind in ('r', 'p') order by 1")
            .await;
        rows.iter()
            .map(|row| row.get("name"))
            .filter(|name: &String| OWNERLESS.iter().all(|(ownerless, _)| ownerless != name))
            .collect()
    }
}

#[tokio::test]
async fn every_table_is_built_on_three_floors() {
    let mut town = Town::peopled().await;
    let rows = town
        .rows(
            "select c.relname::text as name, c.relkind::text as kind, \
               c.relrowsecurity and c.relforcerowsecurity as guarded, \
               (select a.attname::text from pg_constraint k join pg_attribute a \
                on a.attrelid = k.conrelid and a.attnum = k.conkey[1] \
                where k.conrelid = c.oid and k.contype = 'p') as first_column, \
               has_table_privilege('loquat_viewer', c.oid, 'select, insert, update, delete, truncate, references, trigger') \
                 or has_any_column_privilege('loquat_viewer', c.oid, 'select, insert, update, references') as viewers_use_it \
             from pg_class c where c.relnamespace = 'chat'::regnamespace and c.relkind not in ('i', 'I', 'S', 'c')",
        )
        .await;
    for row in rows {
        let (name, kind): (String, String) = (row.get("name"), row.get("kind"));
        assert!(
            matches!(kind.as_str(), "r" | "p"),
            "chat.{name} is no table: a view has no policies of its own"
        );
        if OWNERLESS.iter().any(|(ownerless, _)| *ownerless == name) {
            assert!(
                !row.get::<bool, _>("viewers_use_it"),
                "chat.{name} is nobody's, and viewers may use it"
            );
            continue;
        }
        assert!(
            row.get::<bool, _>("guarded"),
            "chat.{name} forces no row level security"
        );
        let first: Option<String> = row.get("first_column");
        assert_eq!(
            first.as_deref(),
            Some("user_id"),
            "the primary key of chat.{name}"
        );
    }
    for row in town.rows(REFERENCES).await {
        let (name, of, to): (String, String, String) =
            (row.get("name"), row.get("of"), row.get("to"));
        let pairs = columns(&row);
        let owner = ("user_id".to_owned(), "user_id".to_owned());
        assert!(
            pairs.contains(&owner),
            "{name} of {of} refers to {to} without the owner"
        );
    }
    let definers: Vec<String> = sqlx::query_scalar(
        "select proname::text from pg_proc where pronamespace = 'chat'::regnamespace and prosecdef",
    )
    .fetch_all(&mut town.connection)
    .await
    .expect("the catalogue");
    assert_eq!(definers, [""; 0], "run past every policy");
}

/// Leaves the mark of one that went.
async fn delete_a_conversation(stage: &Stage, user: &str) {
    let owner = Credential::token(user);
    let document = "mutation { startChat(input: {}) { conversation { id } } }";
    let started = stage.data(&owner, document, json!({})).await;
    let document = "mutation($id: ID!) { deleteConversation(input: { conversationId: $id }) { deletedConversationId } }";
    let id = &started["startChat"]["conversation"]["id"];
    stage.data(&owner, document, json!({ "id": id })).await;
}
