//! Each floor by itself, on every table that PostgreSQL's catalogue lists: a table that is added
//! cannot be forgotten.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    stage::Stage,
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

/// The texts that the two roles may read which see across users: what a user is called, what
/// happened and how far it is, and nothing that anybody wrote.
const READABLE: &[(&str, &[&str])] = &[
    (
        "loquat_system",
        &[
            "api_keys.claims",
            "api_keys.prefix",
            "audit_log.action",
            "audit_log.credential",
            "audit_log.outcome",
            "audit_log.target_type",
            "messages.status",
            "replies.claims",
            "server_keys.name",
            "users.display_name",
            "users.email",
            "users.external_id",
            "users.issuer",
        ],
    ),
    (
        "loquat_admin",
        &[
            "audit_log.action",
            "audit_log.credential",
            "audit_log.outcome",
            "audit_log.target_type",
            "users.display_name",
            "users.email",
            "users.external_id",
            "users.issuer",
        ],
    ),
];

#[tokio::test]
async fn whoever_sees_across_users_reads_nothing_that_they_wrote() {
    let mut town = Town::peopled().await;
    for (role, readable) in READABLE {
        let found: Vec<String> = sqlx::query_scalar(
            "select c.relname || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid \
             where c.relnamespace = 'chat'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> 'migrations' \
               and a.attnum > 0 and not a.attisdropped and a.atttypid in ('text'::regtype, 'jsonb'::regtype, 'json'::regtype, 'varchar'::regtype) \
               and has_column_privilege($1, c.oid, a.attnum, 'select') order by 1",
        )
        .bind(role)
        .fetch_all(&mut town.connection)
        .await
        .expect("the catalogue");
        assert_eq!(found, *readable, "{role}");
    }
    // An admin cannot even count what others have, nor change it.
    let touched: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'chat'::regnamespace and relkind in ('r', 'p', 'v', 'm') \
           and (has_table_privilege('loquat_admin', oid, 'select, insert, update, delete, truncate, references, trigger') \
             or has_any_column_privilege('loquat_admin', oid, 'select, insert, update, references')) order by 1",
    )
    .fetch_all(&mut town.connection)
    .await
    .expect("the catalogue");
    assert_eq!(touched, ADMINS_TABLES);
}

/// What an admin is for.
const ADMINS_TABLES: &[&str] = &["audit_log", "usage", "users"];

const REFERENCES: &str = "select c.conname::text as name, c.conrelid::regclass::text as of, c.confrelid::regclass::text as to, \
      (select array_agg(a.attname::text order by k.place) from unnest(c.conkey) with ordinality k (number, place) \
       join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number) as from_columns, \
      (select array_agg(a.attname::text order by k.place) from unnest(c.confkey) with ordinality k (number, place) \
       join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number) as to_columns \
    from pg_constraint c where c.contype = 'f' and c.connamespace = 'chat'::regnamespace order by 2, 1";

fn columns(reference: &PgRow) -> Vec<(String, String)> {
    let from: Vec<String> = reference.get("from_columns");
    let to: Vec<String> = reference.get("to_columns");
    from.into_iter().zip(to).collect()
}

/// As a superuser, whom no policy binds, with SQL that says what it likes.
#[tokio::test]
async fn the_keys_alone_refuse_every_reference_to_another_users_row() {
    let mut town = Town::peopled().await;
    let references = town.rows(REFERENCES).await;
    for reference in &references {
        let (name, of, to): (String, String, String) = (
            reference.get("name"),
            reference.get("of"),
            reference.get("to"),
        );
        let mut tx = town.connection.begin().await.expect("a transaction");
        // The others may refuse it as well; this is about each one alone.
        for other in &references {
            let (other, its): (String, String) = (other.get("name"), other.get("of"));
            if its == of && other != name {
                let statement = format!("alter table {its} drop constraint {other}");
                run(&mut tx, &statement).await.expect("dropped");
            }
        }
        let mut row = one_of(&mut tx, &of, town.bob).await;
        let theirs = one_of(&mut tx, &to, town.alice).await;
        for (from, to) in columns(reference) {
            row[from] = theirs[to].clone();
        }
        let owner = if columns(reference).len() > 1 {
            town.bob
        } else {
            // A reference to a user is a row of that user's. Of one who is not there, then.
            Uuid::now_v7()
        };
        row["user_id"] = json!(owner);
        make_unique(&mut row);
        let refused = insert(&mut tx, &of, &row).await.expect_err(&name);
        let refused = refused.as_database_error().expect("PostgreSQL's");
        assert_eq!(
            refused.code().as_deref(),
            Some("23503"),
            "{name}: {refused}"
        );
        assert_eq!(refused.constraint(), Some(name.as_str()), "{refused}");
        tx.rollback().await.expect("a rollback");
    }
    assert!(references.len() >= 6, "{} references", references.len());
}

/// SQL without any owner in it, in the role that viewers' transactions take on.
#[tokio::test]
async fn the_policies_alone_hide_and_keep_every_row_of_another_user() {
    let mut town = Town::peopled().await;
    for table in town.tables().await {
        let (alice, bob) = (town.alice, town.bob);
        let privileges = Privileges::of(&mut town.connection, &table).await;
        let before = all_of(&mut town.connection, &table, alice).await;
        let own = all_of(&mut town.connection, &table, bob).await.len() as u64;
        if privileges.any() {
            assert!(
                own > 0 && !before.is_empty(),
                "chat.{table} has no rows to try with"
            );
        }
        let row = before.first().cloned();
        for deed in Deed::ALL {
            let mut tx = town.connection.begin().await.expect("a transaction");
            as_viewer(&mut tx, &bob.to_string()).await;
            let what = format!("{deed:?} on chat.{table}");
            let done = deed.attempt(&mut tx, &table, &privileges, row.as_ref(), [alice, bob]);
            match done.await {
                Some(Ok(rows)) => {
                    assert!(deed.may_reach(own).contains(&rows), "{what}: {rows}");
                    // Looked at by somebody who sees everything.
                    run(&mut tx, "reset role").await.expect("the superuser");
                    assert_eq!(all_of(&mut tx, &table, alice).await, before, "{what}");
                }
                Some(Err(refused)) => {
                    let code = refused.as_database_error().and_then(|error| error.code());
                    assert_eq!(code.as_deref(), Some("42501"), "{what}: {refused}");
                }
                None => {}
            }
            tx.rollback().await.expect("a rollback");
        }
    }
}

#[tokio::test]
async fn a_transaction_without_a_user_sees_nothing() {
    let mut town = Town::peopled().await;
    // What a connection says that never had a user, and one that had.
    for nobody in [None, Some("")] {
        for table in town.tables().await {
            let mut tx = town.connection.begin().await.expect("a transaction");
            match nobody {
                None => run(&mut tx, "set local role loquat_viewer")
                    .await
                    .map(|_| ())
                    .expect("the role"),
                Some(nobody) => as_viewer(&mut tx, nobody).await,
            }
            match run(&mut tx, &format!("select user_id from chat.{table}")).await {
                Ok(rows) => assert_eq!(rows, 0, "chat.{table}"),
                Err(refused) => {
                    let code = refused.as_database_error().and_then(|error| error.code());
                    assert_eq!(code.as_deref(), Some("42501"), "chat.{table}: {refused}");
                }
            }
            tx.rollback().await.expect("a rollback");
        }
    }
}

/// What a forgetful or hostile statement could do.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Read,
    Change,
    TakeOver,
    GiveAway,
    Delete,
    Forge,
}

impl Deed {
    const ALL: [Self; 6] = [
        Self::Read,
        Self::Change,
        Self::TakeOver,
        Self::GiveAway,
        Self::Delete,
        Self::Forge,
    ];

    /// How many rows it may get at, if it is not refused outright.
    fn may_reach(self, own: u64) -> RangeInclusive<u64> {
        match self {
            Self::Read => own..=own,
            // Some rows may not be changed by their owner either.
            Self::Change | Self::Delete => 0..=own,
            Self::TakeOver | Self::GiveAway | Self::Forge => 0..=0,
        }
    }

    /// `None`: there is no row to do it with.
    async fn attempt(
        self,
        tx: &mut PgConnection,
        table: &str,
        privileges: &Privileges,
        theirs: Option<&Value>,
        [alice, bob]: [Uuid; 2],
    ) -> Option<Result<u64, sqlx::Error>> {
        let statement = match self {
            Self::Read => format!("select user_id from chat.{table}"),
            Self::Change => {
                let column = privileges.update.first().map_or("user_id", String::as_str);
                format!("update chat.{table} set \"{column}\" = \"{column}\"")
            }
            Self::TakeOver => {
                format!("update chat.{table} set user_id = '{bob}' where user_id = '{alice}'")
            }
            Self::GiveAway => format!("update chat.{table} set user_id = '{alice}'"),
            Self::Delete => format!("delete from chat.{table}"),
            Self::Forge => {
                let mut row = theirs?.clone();
                make_unique(&mut row);
                if !privileges.insert.is_empty() {
                    row.as_object_mut()?
                        .retain(|column, _| privileges.insert.contains(column));
                }
                return Some(insert(tx, &format!("chat.{table}"), &row).await);
            }
        };
        Some(run(tx, &statement).await)
    }
}

/// The columns of a table that a viewer's role may use.
struct Privileges {
    select: Vec<String>,
    insert: Vec<String>,
    update: Vec<String>,
}

impl Privileges {
    async fn of(connection: &mut PgConnection, table: &str) -> Self {
        let mut columns = BTreeMap::new();
        for privilege in ["select", "insert", "update"] {
            let found: Vec<String> = sqlx::query_scalar(
                "select attname::text from pg_attribute \
                 where attrelid = ('chat.' || $1)::regclass and attnum > 0 and not attisdropped \
                   and has_column_privilege('loquat_viewer', attrelid, attnum, $2)",
            )
            .bind(table)
            .bind(privilege)
            .fetch_all(&mut *connection)
            .await
            .expect("the catalogue");
            columns.insert(privilege, found);
        }
        let mut take = |privilege| columns.remove(privilege).expect("asked for");
        Self {
            select: take("select"),
            insert: take("insert"),
            update: take("update"),
        }
    }

    fn any(&self) -> bool {
        !(self.select.is_empty() && self.insert.is_empty() && self.update.is_empty())
    }
}

/// Gives a copy of a row what must differ from the original's.
fn make_unique(row: &mut Value) {
    if row.get("id").is_some() {
        row["id"] = json!(Uuid::now_v7());
    }
    if row.get("prefix").is_some() {
        row["prefix"] = json!("loq_a_copy");
    }
}

/// What a viewer's transaction begins with.
async fn as_viewer(tx: &mut PgConnection, user: &str) {
    let statement = format!(
        "set local role loquat_viewer; select set_config('loquat.user_id', '{user}', true)"
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(tx)
        .await
        .expect("the role");
}

async fn run(tx: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

async fn insert(tx: &mut PgConnection, table: &str, row: &Value) -> Result<u64, sqlx::Error> {
    let columns: Vec<String> = row
        .as_object()
        .expect("a row")
        .keys()
        .map(|column| format!("\"{column}\""))
        .collect();
    let columns = columns.join(", ");
    let statement = format!(
        "insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, $1::jsonb)"
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(row.to_string())
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

async fn all_of(connection: &mut PgConnection, table: &str, user: Uuid) -> Vec<Value> {
    rows_of(connection, &format!("chat.{table}"), user).await
}

/// A row of this user's, with as few nulls as any.
async fn one_of(connection: &mut PgConnection, table: &str, user: Uuid) -> Value {
    let rows = rows_of(connection, table, user).await;
    let nulls = |row: &Value| {
        row.as_object()
            .map(|row| row.values().filter(|v| v.is_null()).count())
    };
    rows.into_iter()
        .min_by_key(nulls)
        .unwrap_or_else(|| panic!("{table} has no row to try with"))
}

async fn rows_of(connection: &mut PgConnection, table: &str, user: Uuid) -> Vec<Value> {
    // The lease of a running reply is renewed meanwhile.
    let statement = format!(
        "select (to_jsonb(t) - 'lease_expires_at' || case when to_jsonb(t) ? 'lease_expires_at' \
           then '{{\"lease_expires_at\": \"2000-01-01\"}}' else '{{}}' end::jsonb)::text \
         from {table} t where user_id = $1 order by 1"
    );
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(user)
        .fetch_all(connection)
        .await
        .expect("rows");
    rows.iter()
        .map(|row| serde_json::from_str(row).expect("JSON"))
        .collect()
}
