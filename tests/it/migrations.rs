//! The schema's versions, and the roles that may bring it to them.

use loquat::db::{Database, DatabaseSetupError};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{TestDatabase, sign_in};

#[tokio::test]
async fn a_login_role_that_is_neither_superuser_nor_owner_is_enough() {
    let test = TestDatabase::create().await;
    test.open().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    let mut connection = test.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {role} login password 'pw' nosuperuser nocreaterole"
    )))
    .execute(&mut connection)
    .await
    .expect("a role");
    let url = test.url_as(&role, "pw");
    let refused = Database::connect(&url, 2, true).await.expect_err("refused");
    assert!(
        refused
            .to_string()
            .contains("GRANT loquat_viewer, loquat_system, loquat_admin TO"),
        "{refused}"
    );
    sqlx::raw_sql(AssertSqlSafe(format!(
        "grant loquat_viewer, loquat_system, loquat_admin to {role}"
    )))
    .execute(&mut connection)
    .await
    .expect("a grant");
    let database = Database::connect(&url, 2, true).await.expect("opens");
    let alice = sign_in(&database, "alice").await;
    let mut tx = database.viewer_tx(&alice).await.expect("a transaction");
    let user = tx.user().await.expect("a query").expect("the user");
    assert_eq!(user.external_id, "alice");
    tx.commit().await.expect("a commit");
    database.close().await;
    drop_role(&mut connection, &role).await;
}

#[tokio::test]
async fn a_role_that_may_not_create_roles_is_told_the_sql_to_run() {
    let test = TestDatabase::create().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    let mut connection = test.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {role} login password 'pw' nosuperuser nocreaterole; \
         grant create on database {} to {role}",
        database_name(&mut connection).await
    )))
    .execute(&mut connection)
    .await
    .expect("a role");
    let refused = Database::connect(&test.url_as(&role, "pw"), 2, true)
        .await
        .expect_err("refused");
    assert!(
        matches!(refused, DatabaseSetupError::Migrate(_)),
        "{refused:?}"
    );
    let line = refused.to_string();
    assert!(!line.contains('\n'), "{line}");
    assert!(
        line.contains("GRANT loquat_viewer, loquat_system, loquat_admin TO"),
        "{line}"
    );
    drop_role(&mut connection, &role).await;
}

async fn database_name(connection: &mut PgConnection) -> String {
    sqlx::query_scalar("select current_database()::text")
        .fetch_one(connection)
        .await
        .expect("a name")
}

async fn drop_role(connection: &mut PgConnection, role: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!(
        "drop owned by {role}; drop role {role}"
    )))
    .execute(connection)
    .await
    .expect("the role goes");
}

#[tokio::test]
async fn several_servers_that_start_at_once_migrate_once() {
    let test = TestDatabase::create().await;
    let opened = futures_util::future::join_all((0..4).map(|_| test.open_with(1))).await;
    assert_eq!(opened.len(), 4);
    let status = loquat::db::migrate::run_status(&test.url)
        .await
        .expect("a status");
    assert!(status.iter().all(|migration| migration.applied));
}

#[tokio::test]
async fn migrations_go_down_and_up_again() {
    let test = TestDatabase::create().await;
    let all = loquat::db::migrate::run_up(&test.url).await.expect("up");
    assert_eq!(
        loquat::db::migrate::run_down(&test.url, all)
            .await
            .expect("down"),
        all
    );
    let mut connection = test.superuser().await;
    let left: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'chat'::regnamespace and relkind = 'r'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    assert_eq!(left, ["migrations"]);
    let roles: i64 =
        sqlx::query_scalar("select count(*) from pg_roles where rolname like 'loquat\\_%'")
            .fetch_one(&mut connection)
            .await
            .expect("the catalogue");
    assert_eq!(roles, 3, "roles belong to the server and stay");
    assert_eq!(
        loquat::db::migrate::run_up(&test.url).await.expect("up"),
        all
    );
}

#[tokio::test]
async fn a_database_that_is_newer_than_the_program_is_refused() {
    let test = TestDatabase::create().await;
    test.open().await;
    let mut connection = test.superuser().await;
    sqlx::query(
        "insert into chat.migrations (version, description, success, checksum, execution_time) \
         values (9999, 'from the future', true, ''::bytea, 0)",
    )
    .execute(&mut connection)
    .await
    .expect("a migration");
    let refused = Database::connect(&test.url, 1, true)
        .await
        .expect_err("refused");
    let line = refused.to_string();
    assert!(
        line.contains("newer than this program") && line.contains("9999"),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
}
