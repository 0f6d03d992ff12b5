//! The floor of the keys, with the SQL and the policies out of the way.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Town,
    rows::{insert, make_unique, rows_of, run},
};

/// Every foreign key, with its columns and those that they refer to.
pub const REFERENCES: &str = "select c.conname::text as name, c.conrelid::regclass::text as of, c.confrelid::regclass::text as to, \
      (select array_agg(a.attname::text order by k.place) from unnest(c.conkey) with ordinality k (number, place) \
       join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number) as from_columns, \
      (select array_agg(a.attname::text order by k.place) from unnest(c.confkey) with ordinality k (number, place) \
       join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number) as to_columns \
    from pg_constraint c where c.contype = 'f' and c.connamespace = 'chat'::regnamespace order by 2, 1";

pub fn columns(reference: &PgRow) -> Vec<(String, String)> {
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
