//! Rows of any table, as JSON.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

/// How many rows a statement gave or changed.
pub async fn run(tx: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// From JSON, the members of which are the columns.
pub async fn insert(tx: &mut PgConnection, table: &str, row: &Value) -> Result<u64, sqlx::Error> {
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

/// All of a user's.
pub async fn rows_of(connection: &mut PgConnection, table: &str, user: Uuid) -> Vec<Value> {
    // The lease of a running reply is renewed meanwhile.
    let statement = format!(
        "select jsonb_set(to_jsonb(t), '{{lease_expires_at}}', '\"2000-01-01\"', false)::text \
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

/// Gives a copy of a row what must differ from the original's.
pub fn make_unique(row: &mut Value) {
    if row.get("id").is_some() {
        row["id"] = json!(Uuid::now_v7());
    }
    if row.get("prefix").is_some() {
        row["prefix"] = json!("loq_a_copy");
    }
}
