//! The audit log as PostgreSQL keeps it: append only, whoever asks.

use loquat::{
    db::{Database, OwnDeletion, SystemReason, Viewer},
    model::{
        ApiKeyId, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditTarget, NewAuditEvent,
        PageRequest, Provenance, Slice, UserId,
    },
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use uuid::Uuid;

use crate::support::{TestDatabase, sign_in};

fn by_token(address: &str) -> Provenance {
    Provenance {
        credential: "token:test".into(),
        address: Some(address.parse().expect("an address")),
    }
}

async fn note(database: &Database, viewer: &Viewer, event: &NewAuditEvent) {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    tx.record(event).await.expect("noted");
    tx.commit().await.expect("a commit");
}

async fn events_of(database: &Database, viewer: &Viewer) -> Vec<AuditEvent> {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    let page = tx
        .audit_page(PageRequest {
            slice: Slice::First(100),
            after: None,
            before: None,
        })
        .await
        .expect("a page");
    page.items
}

/// A log with two events of one user and one of nobody.
async fn a_log() -> (TestDatabase, Database, Viewer) {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let ann = sign_in(&database, "ann").await;
    let event = NewAuditEvent::succeeded(AuditAction::ApiKeyCreated, &by_token("203.0.113.7"));
    note(&database, &ann, &event).await;
    let event = NewAuditEvent::failed(AuditAction::ApiKeyRevoked, &by_token("2001:db8::1"))
        .on(ApiKeyId::new());
    note(&database, &ann, &event).await;
    let mut tx = database
        .system_tx(SystemReason::CleanUp)
        .await
        .expect("a transaction");
    let event = NewAuditEvent::denied(AuditAction::CredentialRefused, &Provenance::of_nobody(None));
    tx.record(None, &event).await.expect("noted");
    tx.commit().await.expect("a commit");
    (test, database, ann)
}

/// Everything in the log but the events of signing in.
async fn rows(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select audit_log::text from chat.audit_log where action <> 'user.created' order by id",
    )
    .fetch_all(connection)
    .await
    .expect("the log")
}

#[tokio::test]
async fn what_is_noted_is_read_back_by_its_user_newest_first() {
    let (_test, database, ann) = a_log().await;
    let bob = sign_in(&database, "bob").await;

    let events = events_of(&database, &ann).await;
    let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions[..2], ["api_key.revoked", "api_key.created"]);
    let newest = &events[0];
    assert_eq!(newest.user_id, Some(ann.user_id()));
    assert_eq!(newest.outcome, AuditOutcome::Failed);
    assert_eq!(newest.credential, "token:test");
    assert_eq!(newest.address, "2001:db8::1".parse().ok());
    assert!(matches!(newest.target, Some(AuditTarget::ApiKey(_))));
    assert_eq!(events[1].address, "203.0.113.7".parse().ok());
    assert_eq!(events[1].target, None);

    let ids: Vec<AuditEventId> = events.iter().map(|event| event.id).collect();
    let mut tx = database.viewer_tx(&bob).await.expect("a transaction");
    assert!(tx.audit_events(&ids).await.expect("a query").is_empty());
    drop(tx);
    for event in events_of(&database, &bob).await {
        assert_eq!(event.user_id, Some(bob.user_id()));
    }
    let mut tx = database.viewer_tx(&ann).await.expect("a transaction");
    let found = tx.audit_events(&ids).await.expect("a query");
    assert_eq!(found.len(), ids.len());
}

#[tokio::test]
async fn an_action_that_is_rolled_back_leaves_no_event() {
    let (test, database, ann) = a_log().await;
    let before = rows(&mut test.superuser().await).await;
    let mut tx = database.viewer_tx(&ann).await.expect("a transaction");
    let event = NewAuditEvent::succeeded(AuditAction::ApiKeyCreated, &by_token("::1"));
    tx.record(&event).await.expect("noted");
    drop(tx);
    assert_eq!(rows(&mut test.superuser().await).await, before);
}

/// What a superuser may try on the rows. The last are words that would deceive a look at the call
/// stack which took a statement's text for a part of it.
const CHANGES: &[&str] = &[
    "delete from chat.audit_log",
    "update chat.audit_log set action = 'nothing'",
    "update chat.audit_log set user_id = gen_random_uuid(), ip_address = null",
    "truncate chat.audit_log",
    "truncate chat.audit_log cascade",
    "set session_replication_role = replica; delete from chat.audit_log",
    "set session_replication_role = replica; truncate chat.audit_log",
    "set loquat.retention = 'on'; set chat.retention = 'on'; set loquat.user_id = ''; delete from chat.audit_log",
    "set search_path = chat; delete from audit_log",
    "insert into chat.audit_log select * from chat.audit_log on conflict (user_id, id) do update set action = 'nothing'",
    "merge into chat.audit_log using (select 1) one on true when matched then delete",
    "with gone as (delete from chat.audit_log returning 1) select * from gone",
    "do $$ begin delete from chat.audit_log; end $$",
    "create function public.retain_audit_log(older_than timestamptz, forgotten uuid, pseudonym uuid) \
       returns bigint language plpgsql set search_path = public as $$ begin \
       delete from chat.audit_log; return 1; end $$; \
     select public.retain_audit_log(now(), null, null)",
    "create function chat.retain_audit_log(older_than timestamptz) \
       returns bigint language plpgsql as $$ begin \
       delete from chat.audit_log; return 1; end $$; \
     select chat.retain_audit_log(now())",
    "create function chat.retain_audit_log_too() returns int language sql \
       begin atomic delete from chat.audit_log; select 1; end; \
     select chat.retain_audit_log_too()",
    // The genuine statement, in a function of another name and in none.
    "create function public.other(forgotten uuid, pseudonym uuid) returns void language plpgsql as $$ begin\n    \
       update chat.audit_log set user_id = pseudonym, ip_address = null\n    \
       where (user_id, id) in (\n      \
         select user_id, id from chat.audit_log where user_id = forgotten limit 1000\n    );\n end $$; \
     select public.other(user_id, gen_random_uuid()) from chat.audit_log",
    "do $$ declare forgotten uuid; pseudonym uuid := gen_random_uuid(); begin \
       select into forgotten user_id from chat.audit_log limit 1;\n    \
       update chat.audit_log set user_id = pseudonym, ip_address = null\n    \
       where (user_id, id) in (\n      \
         select user_id, id from chat.audit_log where user_id = forgotten limit 1000\n    );\n end $$",
    // Imitations of the function's entry in the call stack.
    "do $$ begin execute E'delete from chat.audit_log /*\"\\nPL/pgSQL function \
       chat.retain_audit_log(timestamp with time zone,uuid,uuid) line 8 at SQL statement\\n*/'; end $$",
    "do $$ begin execute E'update chat.audit_log \"\\nPL/pgSQL function \
       chat.retain_audit_log(timestamp with time zone,uuid,uuid) line 8 at SQL statement\\n\" \
       set action = ''nothing'''; end $$",
    // The genuine statement does not go on with the mark that the imitation needs.
    "do $$ begin execute E'update chat.audit_log set user_id = pseudonym, ip_address = null\\n    \
       where (user_id, id) in (\\n      \
         select user_id, id from chat.audit_log where user_id = forgotten limit 1000\\n    )\"\\nPL/pgSQL function \
       chat.retain_audit_log(timestamp with time zone,uuid,uuid) line 8 at SQL statement\n\"'; end $$",
    "create function public.\"x\nPL/pgSQL function chat.retain_audit_log(timestamp with time zone,uuid,uuid) \
       line 8 at SQL statement\n\"() returns void language plpgsql as $$ begin delete from chat.audit_log; end $$; \
     select public.\"x\nPL/pgSQL function chat.retain_audit_log(timestamp with time zone,uuid,uuid) \
       line 8 at SQL statement\n\"()",
    "create table public.parent (like chat.audit_log); alter table chat.audit_log inherit public.parent; \
     delete from public.parent",
];

#[tokio::test]
async fn nobody_changes_what_is_written_not_even_a_superuser() {
    let (test, ..) = a_log().await;
    let mut connection = test.superuser().await;
    let before = rows(&mut connection).await;
    assert_eq!(before.len(), 3);
    for change in CHANGES {
        let mut tx = connection.begin().await.expect("a transaction");
        let refused = sqlx::raw_sql(AssertSqlSafe(change.to_string()))
            .execute(&mut *tx)
            .await
            .expect_err(change);
        let text = refused.to_string();
        assert!(
            text.contains("the audit log is append only")
                || text.contains("syntax error") && change.contains(")\"\\nPL/pgSQL"),
            "{change}: {refused}"
        );
        tx.rollback().await.expect("a rollback");
    }
    assert_eq!(rows(&mut connection).await, before);
}

#[tokio::test]
async fn nor_does_the_owner_nor_any_role() {
    let (test, _, ann) = a_log().await;
    let mut connection = test.superuser().await;
    let owner = format!("owner_{}", Uuid::new_v4().simple());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {owner} nosuperuser bypassrls; grant usage, create on schema chat to {owner}; \
         alter table chat.audit_log owner to {owner}"
    )))
    .execute(&mut connection)
    .await
    .expect("an owner");
    let before = rows(&mut connection).await;
    for role in [&*owner, "loquat_system", "loquat_admin", "loquat_viewer"] {
        for change in [
            "delete from chat.audit_log",
            "update chat.audit_log set ip_address = null",
            "update chat.audit_log set action = 'nothing'",
            "truncate chat.audit_log",
        ] {
            let mut tx = connection.begin().await.expect("a transaction");
            sqlx::raw_sql(AssertSqlSafe(format!(
                "set local role {role}; set local loquat.user_id = '{}'",
                ann.user_id()
            )))
            .execute(&mut *tx)
            .await
            .expect("the role");
            let refused = sqlx::raw_sql(change)
                .execute(&mut *tx)
                .await
                .expect_err(change);
            let text = refused.to_string();
            assert!(
                text.contains("append only") || text.contains("permission denied"),
                "{role}, {change}: {refused}"
            );
            tx.rollback().await.expect("a rollback");
        }
    }
    assert_eq!(rows(&mut connection).await, before);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}"
    )))
    .execute(&mut connection)
    .await
    .expect("dropped");
}

#[tokio::test]
async fn only_the_system_may_call_the_retention_function() {
    let (test, ..) = a_log().await;
    let mut connection = test.superuser().await;
    for (role, allowed) in [
        ("loquat_viewer", false),
        ("loquat_admin", false),
        ("loquat_system", true),
    ] {
        let mut tx = connection.begin().await.expect("a transaction");
        let called = sqlx::raw_sql(AssertSqlSafe(format!(
            "set local role {role}; select chat.retain_audit_log(now(), null, null)"
        )))
        .execute(&mut *tx)
        .await;
        assert_eq!(called.is_ok(), allowed, "{role}: {called:?}");
        tx.rollback().await.expect("a rollback");
    }
}

#[tokio::test]
async fn a_viewer_notes_nothing_in_another_name_and_not_at_another_time() {
    let (test, _, ann) = a_log().await;
    let mut connection = test.superuser().await;
    let insert = |user_id: Uuid, more: &str| {
        let (column, value) = more.split_once('=').unwrap_or_default();
        format!(
            "insert into chat.audit_log (user_id, id, action, outcome, credential {column}) \
             values ('{user_id}', gen_random_uuid(), 'x', 'SUCCEEDED', 'none' {value})"
        )
    };
    let (own, other) = (ann.user_id().uuid(), Uuid::now_v7());
    for (role, statement, allowed) in [
        ("loquat_viewer", insert(own, ""), true),
        ("loquat_viewer", insert(other, ""), false),
        ("loquat_viewer", insert(Uuid::nil(), ""), false),
        ("loquat_viewer", insert(own, ", occurred_at=, now()"), false),
        ("loquat_admin", insert(own, ""), true),
        ("loquat_admin", insert(other, ""), false),
        ("loquat_system", insert(other, ""), true),
        ("loquat_system", insert(own, ", occurred_at=, now()"), false),
    ] {
        let mut tx = connection.begin().await.expect("a transaction");
        let inserted = sqlx::raw_sql(AssertSqlSafe(format!(
            "set local role {role}; set local loquat.user_id = '{own}'; {statement}"
        )))
        .execute(&mut *tx)
        .await;
        assert_eq!(
            inserted.is_ok(),
            allowed,
            "{role}: {statement}: {inserted:?}"
        );
        tx.rollback().await.expect("a rollback");
    }
}

#[tokio::test]
async fn what_is_old_goes_in_portions_and_what_is_young_stays() {
    let (test, database, ann) = a_log().await;
    let mut connection = test.superuser().await;
    sqlx::query(
        "insert into chat.audit_log (user_id, id, action, outcome, credential, occurred_at) \
         select gen_random_uuid(), gen_random_uuid(), 'old', 'SUCCEEDED', 'none', \
           now() - interval '31 days' from generate_series(1, 1500)",
    )
    .execute(&mut connection)
    .await
    .expect("old events");
    let before = chrono::Utc::now() - chrono::TimeDelta::days(30);
    let mut deleted = Vec::new();
    for _ in 0..3 {
        let mut tx = database
            .system_tx(SystemReason::CleanUp)
            .await
            .expect("a transaction");
        deleted.push(tx.delete_audit_events(before).await.expect("deleted"));
        tx.commit().await.expect("a commit");
    }
    assert_eq!(deleted, [1000, 500, 0]);
    assert_eq!(rows(&mut connection).await.len(), 3);
    assert!(events_of(&database, &ann).await.len() >= 2);
}

#[tokio::test]
async fn a_forgotten_user_leaves_a_pseudonym_and_no_address() {
    let (test, database, ann) = a_log().await;
    let admin = sign_in(&database, "admin").await;
    let event = NewAuditEvent::succeeded(AuditAction::UserSuspended, &by_token("198.51.100.1"))
        .on(AuditTarget::User(ann.user_id()));
    note(&database, &admin, &event).await;
    // More than one statement takes.
    sqlx::query(
        "insert into chat.audit_log (user_id, id, action, outcome, credential, ip_address) \
         select $1, gen_random_uuid(), 'many', 'DENIED', 'none', '::1' from generate_series(1, 1500)",
    )
    .bind(ann.user_id().uuid())
    .execute(&mut test.superuser().await)
    .await
    .expect("many events");

    let event = NewAuditEvent::succeeded(AuditAction::UserDeleted, &by_token("203.0.113.7"));
    let event = event.on(ann.user_id());
    let deletion = database.delete_viewer(&ann, "ann", &event).await;
    let Ok(OwnDeletion::Acknowledged(deleted)) = deletion else {
        panic!("{deletion:?}");
    };
    // It may be taken up again, whatever was done before.
    for _ in 0..2 {
        database.erase(&deleted).await.expect("erased");
    }

    let mut connection = test.superuser().await;
    let all: Vec<String> = sqlx::query_scalar("select audit_log::text from chat.audit_log")
        .fetch_all(&mut connection)
        .await
        .expect("the log");
    let all = all.join("\n");
    assert!(!all.contains(&ann.user_id().to_string()), "{all}");
    let own = sqlx::query(
        "select user_id, target_id, ip_address::text from chat.audit_log \
         where action in ('user.deleted', 'user.suspended') order by action",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the events");
    let [deleted, suspended] = &own[..] else {
        panic!("{} events", own.len());
    };
    let pseudonym: Uuid = deleted.get("user_id");
    assert_eq!(pseudonym.get_version_num(), 8);
    assert_eq!(deleted.get::<Uuid, _>("target_id"), pseudonym);
    assert_eq!(suspended.get::<Uuid, _>("target_id"), pseudonym);
    assert_eq!(
        suspended.get::<String, _>("ip_address"),
        "198.51.100.1/32",
        "the admin's"
    );
    let addresses: i64 =
        sqlx::query_scalar("select count(ip_address) from chat.audit_log where user_id = $1")
            .bind(pseudonym)
            .fetch_one(&mut connection)
            .await
            .expect("a count");
    assert_eq!(addresses, 0);
    let events: i64 = sqlx::query_scalar("select count(*) from chat.audit_log where user_id = $1")
        .bind(pseudonym)
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(events, 1504, "she was made, did much and was deleted");
}

#[tokio::test]
async fn what_is_noted_afterwards_of_a_user_who_is_gone_is_left_out() {
    let (test, database, ann) = a_log().await;
    let event = NewAuditEvent::denied(AuditAction::AdminAccessed, &by_token("::1"));
    for (user_id, noted) in [(ann.user_id(), 1), (UserId::new(), 0)] {
        let mut tx = database
            .system_tx(SystemReason::CleanUp)
            .await
            .expect("a transaction");
        tx.record_afterwards(Some(user_id), &event)
            .await
            .expect("no error");
        tx.commit().await.expect("a commit");
        let count: i64 = sqlx::query_scalar(
            "select count(*) from chat.audit_log where user_id = $1 and action = 'admin.accessed'",
        )
        .bind(user_id.uuid())
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
        assert_eq!(count, noted);
    }
}

#[tokio::test]
async fn each_list_has_its_index() {
    let (test, ..) = a_log().await;
    let mut connection = test.superuser().await;
    sqlx::raw_sql(
        "insert into chat.audit_log (user_id, id, action, outcome, credential, target_type, target_id) \
         select ('00000000-0000-0000-0000-' || lpad((n % 50)::text, 12, '0'))::uuid, gen_random_uuid(), \
           'x', 'SUCCEEDED', 'none', 'user', \
           ('00000000-0000-0000-0000-' || lpad((n % 60)::text, 12, '0'))::uuid \
         from generate_series(1, 20000) n; analyze chat.audit_log",
    )
    .execute(&mut connection)
    .await
    .expect("many events");
    for (condition, index) in [
        (
            "user_id = '00000000-0000-0000-0000-000000000007'",
            "audit_log_of_user",
        ),
        ("true", "audit_log_by_time"),
        (
            "target_type = 'user' and target_id = '00000000-0000-0000-0000-000000000007'",
            "audit_log_by_target",
        ),
    ] {
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "explain select id from chat.audit_log where {condition} \
             and (occurred_at, id) < (now(), gen_random_uuid()) \
             order by occurred_at desc, id desc limit 21"
        )))
        .fetch_all(&mut connection)
        .await
        .expect("a plan");
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort"), "{plan}");
    }
}
