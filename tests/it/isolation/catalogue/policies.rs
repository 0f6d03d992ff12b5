//! The floor of the policies, with the SQL out of the way and references not asked for.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{
    Town,
    rows::{insert, make_unique, rows_of, run},
};

/// SQL without any owner in it, in the role that viewers' transactions take on.
#[tokio::test]
async fn the_policies_alone_hide_and_keep_every_row_of_another_user() {
    let mut town = Town::peopled().await;
    for table in town.tables().await {
        let (alice, bob) = (town.alice, town.bob);
        let privileges = Privileges::of(&mut town.connection, &table).await;
        let name = format!("chat.{table}");
        let before = rows_of(&mut town.connection, &name, alice).await;
        let own = rows_of(&mut town.connection, &name, bob).await.len() as u64;
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
                    assert_eq!(rows_of(&mut tx, &name, alice).await, before, "{what}");
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
