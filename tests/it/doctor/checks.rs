//! Settings, key sets, databases and models, healthy and not.

use std::net::TcpListener;

use axum::{Json, Router, http::StatusCode, routing::get};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{about, doctor};
use crate::{
    auth::{
        issuer::{SECRET, TestKey, hs256},
        jwks_server::JwksServer,
    },
    support::{TestDatabase, program::Program},
};

async fn checked(variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    let program = variables
        .iter()
        .fold(Program::new(&["doctor"]), |program, (name, value)| {
            program.variable(name, value)
        });
    doctor(program).await
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", free.local_addr().expect("bound"))
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_folder_where_nothing_is_yet_is_healthy_and_stays_empty() {
    let program = Program::new(&["doctor"]);
    let folder = program.folder().to_owned();
    let (code, lines) = doctor(program).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        lines,
        [
            "ok        sign-in: development: any user name is believed, because no issuer is set",
            "ok        database: none yet: the first start makes a private one in data",
            "ok        model: the built-in demo assistant, because neither OPENAI_API_KEY nor \
             OPENAI_BASE_URL is set",
        ]
    );
    assert!(!folder.join("data").exists());

    let token = hs256().token(json!({}), json!({}));
    let program = Program::new(&["doctor", "--token", &token]);
    let folder = program.folder().to_owned();
    let (code, lines) = doctor(program).await;
    assert_eq!(code, Some(1));
    assert!(
        lines[0].starts_with("refused   development: there is no issuer"),
        "{lines:?}"
    );
    assert!(!folder.join("data").exists());
}

#[tokio::test]
async fn a_setting_that_stops_the_start_is_a_problem() {
    let (code, lines) = checked(&[("LOQUAT_BIND", "nowhere")]).await;
    assert_eq!(code, Some(1));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("problem   settings: LOQUAT_BIND: `nowhere` is not"));
}

#[tokio::test]
async fn it_says_which_keys_a_key_set_holds() {
    let (key, odd) = (TestKey::p256_a(), json!({ "kty": "oct", "k": "AAAA" }));
    let server = JwksServer::start(&[key.published("main", json!({})), odd]).await;
    let url = server.url.as_str();

    let (code, lines) = checked(&[("JWT_JWKS_URL", url)]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(
        about(&lines, "issuer jwt"),
        format!(
            "ok        issuer jwt: the key set {url} holds 1 usable key (ES256 \"main\") and 1 of \
             no use here"
        )
    );

    let (code, lines) = checked(&[("JWT_JWKS_URL", url), ("JWT_ALGORITHM", "EdDSA")]).await;
    assert_eq!(code, Some(1));
    let line = about(&lines, "issuer jwt");
    assert!(line.starts_with("problem"), "{line}");
    assert!(line.contains("tokens are accepted with EdDSA"), "{line}");

    let (code, lines) = checked(&[("BETTER_AUTH_URL", &nowhere())]).await;
    assert_eq!(code, Some(1));
    let line = about(&lines, "issuer better-auth");
    assert!(line.contains("cannot be fetched"), "{line}");
    assert!(line.contains("check BETTER_AUTH_URL"), "{line}");
}

#[tokio::test]
async fn a_project_without_published_keys_is_healthy_by_its_secret_alone() {
    let server = JwksServer::start(&[]).await;
    let url = server.url.trim_end_matches("/jwks.json");
    let project = ("SUPABASE_PROJECT_URL", url);

    let (code, lines) = checked(&[project, ("SUPABASE_JWT_SECRET", SECRET)]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(about(&lines, "issuer supabase").contains("HS256 by its secret alone"));
    assert!(!lines.concat().contains(SECRET));

    let (code, lines) = checked(&[project]).await;
    assert_eq!(code, Some(1));
    let line = about(&lines, "issuer supabase");
    assert!(line.contains("holds no usable key"), "{line}");
}

#[tokio::test]
async fn it_looks_at_a_database_and_changes_nothing() {
    let test = TestDatabase::create().await;
    let url = test.url.expose_secret().to_owned();

    let (code, lines) = checked(&[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let line = about(&lines, "database");
    assert!(line.contains("with 0 of "), "{line}");
    assert!(line.contains("`loquat migrate up`"), "{line}");
    let schemas: i64 =
        sqlx::query_scalar("select count(*) from pg_namespace where nspname = 'chat'")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("a count");
    assert_eq!(schemas, 0);

    test.open().await.close().await;
    let (code, lines) = checked(&[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(
        about(&lines, "database").ends_with(" migrations"),
        "{lines:?}"
    );

    let port = nowhere().rsplit(':').next().expect("a port").to_owned();
    let url = format!("postgresql://loquat:hunter2@127.0.0.1:{port}/chat");
    let (code, lines) = checked(&[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(1));
    let line = about(&lines, "database");
    assert!(
        line.starts_with("problem   database: DATABASE_URL: the database cannot be reached"),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_role_that_lacks_a_right_is_a_problem_with_the_sql_to_run() {
    let test = TestDatabase::create().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    let mut superuser = test.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {role} login password 'hunter2' nosuperuser nocreaterole"
    )))
    .execute(&mut superuser)
    .await
    .expect("a role");
    let url = test.url_as(&role, "hunter2");
    let (before, without_schema) = checked(&[("DATABASE_URL", url.expose_secret())]).await;
    test.open().await.close().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "grant usage on schema chat to {role}; grant select on chat.migrations to {role}"
    )))
    .execute(&mut superuser)
    .await
    .expect("granted");
    let (after, without_roles) = checked(&[("DATABASE_URL", url.expose_secret())]).await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "drop owned by {role}; drop role {role}"
    )))
    .execute(&mut superuser)
    .await
    .expect("dropped");

    assert_eq!((before, after), (Some(1), Some(1)));
    let line = about(&without_schema, "database");
    assert!(line.contains("as an administrator, run"), "{line}");
    let line = about(&without_roles, "database");
    assert!(line.contains("may not become loquat_viewer"), "{line}");
}

#[tokio::test]
async fn beside_a_running_server_it_looks_at_that_servers_database() {
    let server = Program::new(&[]).serve().await;
    let output = server
        .beside(&["doctor"])
        .output()
        .await
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let line = about(&lines, "database");
    assert!(
        line.starts_with("ok        database: PostgreSQL "),
        "{line}"
    );
    assert!(line.ends_with(" migrations"), "{line}");
    server.signal(Signal::SIGTERM);
    server.end().await;
}

#[tokio::test]
async fn it_asks_the_models_server_for_its_models() {
    let lists = serve(Router::new().route(
        "/v1/models",
        get(async || Json(json!({ "object": "list", "data": [{ "id": "fine" }] }))),
    ))
    .await;
    let silent = serve(Router::new()).await;
    let strict =
        serve(Router::new().route("/v1/models", get(async || StatusCode::UNAUTHORIZED))).await;
    let nobody = nowhere();
    for (base, model, expected, words) in [
        (&lists, "fine", 0, "lists fine"),
        (
            &lists,
            "fein",
            1,
            "does not list fein; check OPENAI_CHAT_MODEL",
        ),
        (
            &silent,
            "fine",
            0,
            "it does not list its models (404 Not Found)",
        ),
        (
            &strict,
            "fine",
            1,
            "it refuses the key (401 Unauthorized); check OPENAI_API_KEY",
        ),
        (
            &nobody,
            "fine",
            1,
            "it cannot be reached (Connection refused",
        ),
    ] {
        let (code, lines) = checked(&[
            ("OPENAI_BASE_URL", &format!("{base}/v1")),
            ("OPENAI_API_KEY", "sk-planted-4711"),
            ("OPENAI_CHAT_MODEL", model),
        ])
        .await;
        let line = about(&lines, "model");
        assert_eq!(code, Some(expected), "{line}");
        assert!(line.contains(words), "{line}");
        assert!(!lines.concat().contains("planted"), "{lines:?}");
    }
}
