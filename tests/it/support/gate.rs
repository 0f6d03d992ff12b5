use sqlx::{AssertSqlSafe, PgConnection};

use super::{TestDatabase, eventually};

/// A gate inside PostgreSQL: a statement whose row level security asks for [`SqlGate::passed`]
/// waits there until the gate is opened.
pub struct SqlGate {
    key: i64,
    holder: PgConnection,
}

impl SqlGate {
    pub async fn closed(test: &TestDatabase, key: i64) -> Self {
        let mut holder = test.superuser().await;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(key)
            .execute(&mut holder)
            .await
            .expect("the gate closes");
        Self { key, holder }
    }

    /// An SQL condition that is true once the gate is open.
    pub fn passed(key: i64) -> String {
        format!("pg_advisory_xact_lock_shared({key})::text is not null")
    }

    /// Waits until so many statements stand before the gate.
    pub async fn waiting(&mut self, count: i64) {
        let key = self.key;
        let holder = tokio::sync::Mutex::new(&mut self.holder);
        eventually("statements stand before the gate", || async {
            let mut holder = holder.lock().await;
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_locks where locktype = 'advisory' and not granted \
                 and database = (select oid from pg_database where datname = current_database()) \
                 and (classid::bigint << 32) + objid::bigint = $1",
            )
            .bind(key)
            .fetch_one(&mut **holder)
            .await
            .expect("the locks");
            (waiting >= count).then_some(())
        })
        .await;
    }

    pub async fn open(mut self) {
        sqlx::query("select pg_advisory_unlock($1)")
            .bind(self.key)
            .execute(&mut self.holder)
            .await
            .expect("the gate opens");
    }
}

/// Runs statements as the superuser.
pub async fn sql(test: &TestDatabase, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut test.superuser().await)
        .await
        .expect("statements run");
}
