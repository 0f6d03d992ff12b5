//! The schema's versions, and the roles that may bring it to them.

use loquat::db::{Database, DatabaseSetupError};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{TestDatabase, sign_in, sql};

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

/// A database without a schema, and a role that may do all that the migrations need.
async fn owned_by_an_app() -> (TestDatabase, String) {
    // Another database has brought the three roles, which belong to the whole server.
    TestDatabase::create().await.open().await.close().await;
    let test = TestDatabase::create().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    let database = database_name(&mut test.superuser().await).await;
    let statements = format!(
        "create role {role} login password 'pw' nosuperuser nocreaterole; \
         grant create on database {database} to {role}; \
         grant loquat_viewer, loquat_system, loquat_admin to {role}"
    );
    sql(&test, &statements).await;
    (test, role)
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_said_as_postgresql_says_it() {
    let (test, role) = owned_by_an_app().await;
    let url = test.url_as(&role, "pw");
    let up = async || loquat::db::migrate::run_up(&url).await;
    let all = up().await.expect("up");
    let down = loquat::db::migrate::run_down(&url, all - 6).await;
    assert_eq!(down.expect("down"), all - 6);

    sql(&test, "alter table chat.usage owner to current_user").await;
    let line = up().await.expect_err("refused").to_string();
    assert_eq!(
        line,
        "the database could not be migrated (migration 7: must be owner of table usage)"
    );

    sql(&test, "alter schema chat owner to current_user").await;
    let line = up().await.expect_err("refused").to_string();
    assert!(
        line.starts_with(&format!(
            "the role \"{role}\" may not migrate the database ("
        )) && line.ends_with("run `loquat migrate` as \"postgres\", which owns it"),
        "{line}"
    );
    drop_role(&mut test.superuser().await, &role).await;
}

async fn drop_role(connection: &mut PgConnection, role: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!(
        "drop owned by {role} cascade; drop role {role}"
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

/// A user with everything that version 2 knows.
const LIFE_IN_VERSION_2: &str = "
insert into chat.users (user_id, issuer, external_id, email)
select gen_random_uuid(), 'jwt', name, name || '@example.com' from unnest(array['ann', 'bob', 'cyd']) name;
insert into chat.conversations (user_id, id, title, created_at, updated_at, last_active_at)
select user_id, gen_random_uuid(), 'a title', now(), now(), now() from chat.users;
insert into chat.messages (user_id, id, conversation_id, active, position, role, content, status, created_at)
select user_id, gen_random_uuid(), id, true, 0, 'ASSISTANT', '', 'STREAMING', now() from chat.conversations;
insert into chat.replies (user_id, message_id, conversation_id, claims, process_id, lease_expires_at, fence, attempt)
select user_id, id, conversation_id, '{\"sub\": \"ann\"}', gen_random_uuid(), now(), 1, 1 from chat.messages;
insert into chat.reply_chunks select user_id, message_id, 1, 0, 5, 'hello' from chat.replies;
insert into chat.idempotency_keys (user_id, operation, key, fingerprint)
select user_id, 'startChat', 'a key', sha256('') from chat.users";

/// And what has happened to them since: ann has a key, bob is suspended, cyd's deletion is not finished.
const LIFE_SINCE: &str = "
insert into chat.api_keys (user_id, id, name, prefix, secret_hash, scopes, claims)
select user_id, gen_random_uuid(), 'a key', 'loq_' || external_id, sha256(''), '{READ}', '{}' from chat.users;
insert into chat.audit_log (user_id, id, action, outcome, credential)
select user_id, gen_random_uuid(), 'user.created', 'SUCCEEDED', 'token:jwt' from chat.users;
update chat.users set suspended_at = now(), is_admin = true where external_id = 'bob';
insert into chat.tombstones select user_id, sha256(''), now() from chat.users where external_id = 'cyd';
update chat.users set issuer = null, external_id = null, email = null, deleted_at = now() where external_id = 'cyd'";

/// What version 6 knows beside that: what was asked, and what the answer has cost so far.
const LIFE_SINCE_VERSION_2: &str = "
update chat.messages set position = 1;
insert into chat.messages (user_id, id, conversation_id, active, position, role, content, status, created_at, completed_at)
select user_id, gen_random_uuid(), conversation_id, true, 0, 'USER', 'hi', 'COMPLETED', now(), now() from chat.messages;
update chat.messages m set parent_id = asked.id from chat.messages asked
where asked.conversation_id = m.conversation_id and asked.role = 'USER' and m.role = 'ASSISTANT';
insert into chat.usage (user_id, id, prompt_tokens, completion_tokens, total_tokens)
select user_id, message_id, 1, 1, 2 from chat.replies";

/// What version 7 alone knows: a version that was left, a run that waits, and a title's cost.
const LIFE_IN_VERSION_7: &str = "
insert into chat.messages (user_id, id, conversation_id, active, preferred, version_number, position, role, content, status,
  created_at, completed_at)
select user_id, gen_random_uuid(), conversation_id, false, false, 2, 0, 'USER', 'hello', 'COMPLETED', now(), now()
from chat.replies;
update chat.replies set process_id = null, lease_expires_at = null;
insert into chat.usage (user_id, id, kind, prompt_tokens, completion_tokens, total_tokens)
select user_id, gen_random_uuid(), 'TITLE', 1, 1, 2 from chat.replies";

/// Whatever makes up the schema, as text.
const SHAPE: &str = "
select format('%s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
  pg_get_expr(adbin, adrelid)) from pg_attribute join pg_class c on c.oid = attrelid
  left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum)
  where relnamespace = 'chat'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
union all select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
  where connamespace = 'chat'::regnamespace
union all select indexdef from pg_indexes where schemaname = 'chat'
union all select pg_policies::text from pg_policies where schemaname = 'chat'
union all select format('%s %s %s', oid::regclass, relrowsecurity, relforcerowsecurity) from pg_class
  where relnamespace = 'chat'::regnamespace and relkind = 'r'
union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'chat'::regnamespace
union all select format('%s %s %s', oid::regclass, grantee::regrole, privilege_type)
  from pg_class, aclexplode(relacl) where relnamespace = 'chat'::regnamespace
union all select format('%s.%s %s %s', attrelid::regclass, attname, grantee::regrole, privilege_type)
  from pg_attribute join pg_class c on c.oid = attrelid, aclexplode(attacl) where relnamespace = 'chat'::regnamespace
order by 1";

async fn texts(connection: &mut PgConnection, query: &'static str) -> Vec<String> {
    let texts = sqlx::query_scalar(query).fetch_all(connection).await;
    texts.expect("the catalogue")
}

#[tokio::test]
async fn a_database_of_version_2_comes_up_with_all_that_it_holds_and_goes_back_after_use() {
    let test = TestDatabase::create().await;
    let all = loquat::db::migrate::run_up(&test.url).await.expect("up");
    let since = all - 2;
    let down = async || loquat::db::migrate::run_down(&test.url, since).await;
    assert_eq!(down().await.expect("down"), since);
    let mut connection = test.superuser().await;
    let before = texts(&mut connection, SHAPE).await;
    sql(&test, LIFE_IN_VERSION_2).await;

    assert_eq!(
        loquat::db::migrate::run_up(&test.url).await.expect("up"),
        since
    );
    sql(&test, LIFE_SINCE).await;
    assert_eq!(down().await.expect("down"), since);

    assert_eq!(texts(&mut connection, SHAPE).await, before);
    for table in [
        "users",
        "conversations",
        "messages",
        "replies",
        "reply_chunks",
        "idempotency_keys",
    ] {
        let left: (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
            "select count(*) filter (where user_id in (select user_id from chat.users \
               where external_id in ('ann', 'bob'))), count(*) from chat.{table}"
        )))
        .fetch_one(&mut connection)
        .await
        .expect("a count");
        assert_eq!(left, (2, 2), "chat.{table}");
    }
    // And up again, to a server that runs.
    test.open().await.ping().await.expect("an answer");
}

#[tokio::test]
async fn a_role_that_is_no_superuser_takes_all_that_version_6_holds_up_and_back_again() {
    let (test, role) = owned_by_an_app().await;
    let mut connection = test.superuser().await;
    let url = test.url_as(&role, "pw");
    let up = async || loquat::db::migrate::run_up(&url).await.expect("up");
    let down = async |count| {
        let undone = loquat::db::migrate::run_down(&url, count).await;
        assert_eq!(undone.expect("down"), count);
    };
    let all = up().await;
    let since = all - 6;
    down(since).await;
    let before = texts(&mut connection, SHAPE).await;
    sql(&test, LIFE_IN_VERSION_2).await;
    sql(&test, LIFE_SINCE_VERSION_2).await;

    assert_eq!(up().await, since);
    let filled_in = "select format('%s %s %s', title_settled, path_length, \
         (select position from chat.replies r where r.conversation_id = c.id)) from chat.conversations c";
    assert_eq!(texts(&mut connection, filled_in).await, ["t 2 1"; 3]);
    let keys = "select name from chat.server_keys order by name";
    assert_eq!(texts(&mut connection, keys).await, ["broker", "tombstones"]);
    let unforced = "select relname::text from pg_class where relnamespace = 'chat'::regnamespace \
         and relkind = 'r' and relname <> 'migrations' and not relforcerowsecurity";
    assert!(texts(&mut connection, unforced).await.is_empty());
    sql(&test, LIFE_IN_VERSION_7).await;

    down(since).await;
    assert_eq!(texts(&mut connection, SHAPE).await, before);
    assert_eq!(texts(&mut connection, keys).await, ["tombstones"]);
    let left = "select format('%s %s %s %s', u.external_id, \
         (select string_agg(content, ',' order by position) from chat.messages m where m.user_id = u.user_id), \
         (select bool_and(process_id is not null) from chat.replies r where r.user_id = u.user_id), \
         (select count(*) from chat.usage s where s.user_id = u.user_id)) from chat.users u order by 1";
    assert_eq!(
        texts(&mut connection, left).await,
        ["ann hi, t 1", "bob hi, t 1", "cyd hi, t 1"]
    );

    assert_eq!(up().await, since);
    let opened = Database::connect(&url, 2, true).await.expect("opens");
    opened.ping().await.expect("an answer");
    opened.close().await;
    down(all).await;
    drop_role(&mut connection, &role).await;
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
