//! What `loquat doctor` finds, and what it never says.

use std::net::TcpListener;

use axum::{Json, Router, http::StatusCode, routing::get};
use loquat::{auth::Authenticator, config::Settings, lifecycle::Lifecycle};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    auth::{
        issuer::{AUDIENCE, ISSUER, SECRET, TestKey, hs256, now, offer, settings},
        jwks_server::JwksServer,
    },
    support::{
        TestDatabase,
        program::{Program, Server, client},
        sign_in_as,
    },
};

/// Its exit code, and its lines.
async fn doctor(program: Program) -> (Option<i32>, Vec<String>) {
    let output = program.output().await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).expect("text");
    (
        output.status.code(),
        text.lines().map(str::to_owned).collect(),
    )
}

/// The line about something.
fn about<'a>(lines: &'a [String], subject: &str) -> &'a str {
    let has_subject = |line: &&String| {
        line.split_once("  ")
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(&format!("{subject}: ")))
    };
    lines
        .iter()
        .find(has_subject)
        .unwrap_or_else(|| panic!("nothing about {subject}: {lines:#?}"))
}

async fn checked(variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    let program = variables
        .iter()
        .fold(Program::new(&["doctor"]), |program, (name, value)| {
            program.variable(name, value)
        });
    doctor(program).await
}

async fn explained(variables: &[(&str, &str)], token: &str) -> (Option<i32>, Vec<String>) {
    let program = variables
        .iter()
        .fold(
            Program::new(&["doctor", "--token", "-"]),
            |program, (name, value)| program.variable(name, value),
        )
        .input(token);
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

#[tokio::test]
async fn a_token_is_read_from_the_arguments_or_from_standard_input() {
    let settings = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    let token = hs256().token(json!({}), json!({}));
    for written in [
        token.clone(),
        format!("  {token}\n"),
        format!("Bearer {token}\n"),
    ] {
        let (code, lines) = explained(&settings, &written).await;
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(
            lines[0].starts_with("accepted  jwt: its user is \"user-1\", until "),
            "{lines:?}"
        );
    }
    let program = settings.iter().fold(
        Program::new(&["doctor", "--token", &token]),
        |program, (name, value)| program.variable(name, value),
    );
    assert_eq!(doctor(program).await.0, Some(0));
    assert_eq!(explained(&settings, " \n").await.0, Some(1));
}

#[tokio::test]
async fn a_token_of_the_command_line_is_accepted_in_development() {
    let server = Program::new(&[])
        .database(&TestDatabase::create().await)
        .serve()
        .await;
    let say = async |arguments: &[&str]| {
        let output = server.beside(arguments).output().await.expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let token = say(&["token", "--user", "ann"]).await;
    let said = say(&["doctor", "--token", token.trim()]).await;
    assert!(
        said.starts_with("accepted  development: its user is \"ann\", until "),
        "{said}"
    );
    server.signal(Signal::SIGTERM);
    server.end().await;
}

#[tokio::test]
async fn every_issuer_has_its_say_and_one_that_accepts_is_enough() {
    let file = format!(
        "[[issuers]]\nname = 'shop'\nissuer = '{ISSUER}'\nsecret = '{SECRET}'\n\
         [[issuers]]\nname = 'desk'\nissuer = 'https://desk.test'\nsecret = '{SECRET}'\n\
         [[issuers]]\nname = 'old'\nsecret = 'another-secret-of-more-than-32-bytes'\n"
    );
    let program = Program::new(&["doctor", "--token", "-"])
        .file("loquat.toml", &file)
        .input(&hs256().token(json!({}), json!({})));
    let (code, lines) = doctor(program).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(about(&lines, "shop").starts_with("accepted"), "{lines:?}");
    assert_eq!(
        about(&lines, "desk"),
        "refused   desk: its iss is \"https://issuer.test\", not \"https://desk.test\"; send a \
         token of that issuer, or change `issuer` of the [[issuers]] table desk"
    );
    assert_eq!(
        about(&lines, "old"),
        "refused   old: its iss is \"https://issuer.test\", which another configured issuer has: \
         that one alone is asked"
    );
}

/// A mutation of the development user Ann, by name.
async fn ann(server: &Server, mutation: &str) -> Value {
    let answer: Value = client()
        .post(server.url("/graphql"))
        .header("content-type", "application/json")
        .header("x-user-id", "ann")
        .body(json!({ "query": mutation }).to_string())
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].clone()
}

async fn changed(test: &TestDatabase, statement: &'static str) {
    let done = sqlx::query(statement)
        .execute(&mut test.superuser().await)
        .await
        .expect("changed");
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn it_says_what_became_of_an_api_key() {
    const MAKE: &str = "mutation { createApiKey(input: { name: \"doctor\", scopes: [READ] }) { \
                        secret apiKey { id } } }";

    let test = TestDatabase::create().await;
    let url = test.url.expose_secret().to_owned();
    let settings = [("DATABASE_URL", url.as_str())];
    let (code, lines) = explained(&settings, "loq_whatever").await;
    assert_eq!(code, Some(1));
    assert!(
        lines[0].contains("the database lacks migrations"),
        "{lines:?}"
    );

    let server = Program::new(&[]).database(&test).serve().await;
    let made = ann(&server, MAKE).await;
    let made = &made["createApiKey"];
    let key = made["secret"].as_str().expect("a key").to_owned();
    let says = async |words: &str, expected: i32| {
        let (code, lines) = explained(&settings, &key).await;
        assert_eq!(code, Some(expected), "{lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(words), "{lines:?}");
        assert!(!lines[0].contains(&key[16..]), "{lines:?}");
    };
    says("accepted  API key: it may read", 0).await;
    let used: Option<i64> = sqlx::query_scalar("select count(last_used_at) from chat.api_keys")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(used, Some(0), "to ask is not to use");

    changed(&test, "update chat.users set suspended_at = now()").await;
    says("its user is suspended", 1).await;
    changed(&test, "update chat.users set suspended_at = null").await;
    changed(&test, "update chat.api_keys set created_at = now() - interval '2 days', expires_at = now() - interval '1 day'").await;
    says("it has expired", 1).await;
    changed(&test, "update chat.api_keys set expires_at = null").await;
    let id = made["apiKey"]["id"].as_str().expect("an id");
    ann(
        &server,
        &format!(
            "mutation {{ revokeApiKey(input: {{ apiKeyId: \"{id}\" }}) {{ apiKey {{ id }} }} }}"
        ),
    )
    .await;
    says("it was revoked", 1).await;
    ann(
        &server,
        "mutation { deleteViewer(input: { confirmExternalId: \"ann\" }) { deletedViewerId } }",
    )
    .await;
    says("this database knows none that reads so", 1).await;
    server.signal(Signal::SIGTERM);
    server.end().await;
}

#[tokio::test]
async fn a_good_token_of_somebody_who_is_not_let_in_is_refused_with_the_reason() {
    let test = TestDatabase::create().await;
    let url = test.url.expose_secret().to_owned();
    let settings = [("DATABASE_URL", url.as_str()), ("JWT_SECRET_KEY", SECRET)];
    let token = hs256().token(json!({}), json!({ "sub": "ann" }));
    let database = test.open().await;

    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let users: i64 = sqlx::query_scalar("select count(*) from chat.users where issuer = 'jwt'")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(users, 0, "to ask is not to sign in");

    let identity = offer(
        &Authenticator::new(&secret_only(), &Lifecycle::new()).expect("usable"),
        token.as_str(),
    )
    .await
    .expect("accepted");
    sign_in_as(&database, &identity).await;
    changed(
        &test,
        "update chat.users set suspended_at = now() where issuer = 'jwt'",
    )
    .await;
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines[0].starts_with("refused   jwt: its user is suspended"),
        "{lines:?}"
    );
    changed(
        &test,
        "update chat.users set suspended_at = null, tokens_valid_from = now() where issuer = 'jwt'",
    )
    .await;
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[0].contains("its user was deleted here"), "{lines:?}");
    database.close().await;
}

fn secret_only() -> Settings {
    settings(&[("JWT_SECRET_KEY", SECRET)])
}

#[tokio::test]
async fn neither_the_token_nor_whom_it_is_about_is_printed() {
    let token = hs256().token(
        json!({ "kid": "planted-kid@example.org" }),
        json!({
            "iss": "planted-iss@example.org", "aud": ["planted-aud@example.org"],
            "email": "planted-email@example.org", "name": "Planted Name", "sub": "planted-sub",
        }),
    );
    let signature = token.rsplit('.').next().expect("a signature").to_owned();
    for settings in [
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", ISSUER)],
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_AUDIENCE", AUDIENCE)],
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_USER_CLAIM", "email")],
        vec![("JWT_SECRET_KEY", "another-secret-of-more-than-32-bytes")],
        vec![],
    ] {
        let (_, lines) = explained(&settings, &token).await;
        let text = lines.concat();
        assert!(!text.to_lowercase().contains("planted"), "{text}");
        assert!(!text.contains(&signature), "{text}");
    }
    // Whatever a token says stays on its line, and short.
    let forged = format!("x\nok        fine: {}", "y".repeat(5_000));
    let token = hs256().token(json!({}), json!({ "iss": forged, "exp": now() + 60 }));
    let settings = [("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", ISSUER)];
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].len() < 600, "{lines:?}");
}
