//! The program itself: how it starts, how it refuses to, and how it stops.

use std::net::TcpListener;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest, protocol::frame::coding::CloseCode,
};
use uuid::Uuid;

use crate::support::{
    TestDatabase,
    program::{PATIENCE, Program, Server, client},
};

/// The status and the JSON of a GET.
async fn answer_of(server: &Server, path: &str) -> (u16, serde_json::Value) {
    let answer = client()
        .get(server.url(path))
        .send()
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_bad_database_url_is_refused() {
    let line = Program::new(&[])
        .variable("DATABASE_URL", "localhost/chat")
        .refusal()
        .await;
    assert!(line.starts_with("DATABASE_URL: is not a URL"), "{line}");
    assert!(
        line.contains("postgresql://user:password@host:5432/database"),
        "{line}"
    );
}

#[tokio::test]
async fn two_contradicting_secrets_are_refused_and_not_shown() {
    let line = Program::new(&[])
        .variable(
            "SUPABASE_JWT_SECRET",
            "hunter2-of-the-one-issuer-0123456789",
        )
        .file(
            "loquat.toml",
            "jwt_secret_key = 'hunter2-of-the-other-0123456789-01234'",
        )
        .refusal()
        .await;
    assert_eq!(
        line,
        "SUPABASE_JWT_SECRET and jwt_secret_key in loquat.toml contradict each other: they are \
         different secrets; keep the one that signs the tokens"
    );
}

#[tokio::test]
async fn an_unreachable_database_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let line = Program::new(&["serve", "--bind", "127.0.0.1:0"])
        .file(
            ".env",
            &format!("DATABASE_URL=postgresql://loquat:hunter2@127.0.0.1:{port}/chat"),
        )
        .refusal()
        .await;
    assert!(
        line.starts_with("DATABASE_URL in .env: the database cannot be reached"),
        "{line}"
    );
    assert!(
        line.contains("check host, port") && !line.contains("hunter2"),
        "{line}"
    );
}

#[tokio::test]
async fn production_without_an_issuer_is_refused() {
    let line = Program::new(&["--environment", "production"])
        .refusal()
        .await;
    assert_eq!(
        line,
        "--environment is production and needs an issuer: set SUPABASE_PROJECT_URL, \
         BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY, write an [[issuers]] table into \
         loquat.toml, or set LOQUAT_GATEWAY_SECRET"
    );
}

#[tokio::test]
async fn an_unknown_key_in_the_file_is_refused() {
    let line = Program::new(&["--config", "other.toml"])
        .file("other.toml", "databse_url = 'postgresql://localhost/chat'")
        .refusal()
        .await;
    assert_eq!(
        line,
        "other.toml: unknown key `databse_url`; loquat.example.toml lists the keys"
    );
}

#[tokio::test]
async fn a_settings_file_that_is_not_there_is_refused_if_it_was_named() {
    let line = Program::new(&[])
        .variable("LOQUAT_CONFIG", "nowhere.toml")
        .refusal()
        .await;
    assert!(
        line.starts_with("LOQUAT_CONFIG: cannot read nowhere.toml"),
        "{line}"
    );
}

#[tokio::test]
async fn an_unknown_flag_is_refused() {
    let line = Program::new(&["--databse-url", "x"]).refusal().await;
    assert!(line.contains("--databse-url"), "{line}");
}

#[tokio::test]
async fn a_security_log_that_cannot_be_written_is_refused() {
    let line = Program::new(&[])
        .variable("LOQUAT_SECURITY_LOG", "no/such/folder/security.log")
        .refusal()
        .await;
    assert_eq!(
        line,
        "LOQUAT_SECURITY_LOG: cannot write to no/such/folder/security.log (No such file or directory \
         (os error 2)); name a file that the server may write"
    );
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_refused_as_a_security_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("security.log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let line = Program::new(&[])
        .variable("LOQUAT_SECURITY_LOG", pipe.to_str().expect("a plain path"))
        .refusal()
        .await;
    assert!(
        line.starts_with("LOQUAT_SECURITY_LOG: cannot write to "),
        "{line}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let line = Program::new(&["--bind", &address]).refusal().await;
    assert!(
        line.starts_with(&format!("--bind: cannot listen on {address}")),
        "{line}"
    );
}

#[tokio::test]
async fn a_role_that_may_not_create_roles_is_refused_with_the_sql_to_run() {
    let test = TestDatabase::create().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    let mut superuser = test.superuser().await;
    let database: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut superuser)
        .await
        .expect("a name");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create role {role} login password 'hunter2' nosuperuser nocreaterole; \
         grant create on database {database} to {role}"
    )))
    .execute(&mut superuser)
    .await
    .expect("a role");

    let line = Program::new(&["--bind", "127.0.0.1:0"])
        .variable(
            "DATABASE_URL",
            test.url_as(&role, "hunter2").expose_secret(),
        )
        .refusal()
        .await;

    sqlx::raw_sql(AssertSqlSafe(format!(
        "drop owned by {role}; drop role {role}"
    )))
    .execute(&mut superuser)
    .await
    .expect("dropped");
    assert!(line.starts_with("DATABASE_URL: the role"), "{line}");
    assert!(line.contains("as an administrator, run"), "{line}");
    assert!(line.contains("GRANT loquat_viewer"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_database_that_is_newer_than_the_program_is_refused() {
    let test = TestDatabase::create().await;
    test.open().await.close().await;
    sqlx::query(
        "insert into chat.migrations (version, description, success, checksum, execution_time) \
         values (999999, 'of the future', true, '', 0)",
    )
    .execute(&mut test.superuser().await)
    .await
    .expect("a migration of the future");

    let line = Program::new(&["--bind", "127.0.0.1:0"])
        .database(&test)
        .refusal()
        .await;
    assert!(
        line.starts_with("DATABASE_URL: the database is newer than this program"),
        "{line}"
    );
}

#[tokio::test]
async fn a_server_says_where_it_is_answers_and_stops_at_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let test = TestDatabase::create().await;
        let server = Program::new(&[]).database(&test).serve().await;
        assert!(
            server.running.starts_with("Loquat ")
                && server.running.contains(&format!(
                    "is running on http://{} in development",
                    server.address()
                )),
            "{}",
            server.running
        );

        assert_eq!(answer_of(&server, "/health/live").await.0, 200);
        let (status, body) = answer_of(&server, "/health/ready").await;
        assert_eq!((status, &body["status"]), (200, &"ready".into()), "{body}");
        assert_eq!(answer_of(&server, "/nowhere").await.0, 404);

        server.signal(signal);
        let (code, said) = server.ended().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("a demo"), "{said}");
        assert!(said.contains("OPENAI_API_KEY"), "{said}");
        assert!(said.contains("SUPABASE_PROJECT_URL"), "{said}");
        assert!(!said.contains("DATABASE_URL"), "{said}");
        assert!(said.contains("stopped"), "{said}");
    }
}

#[tokio::test]
async fn without_a_database_there_is_a_private_one_that_commands_share() {
    let server = Program::new(&[]).serve().await;
    let (status, _) = answer_of(&server, "/health/ready").await;
    assert_eq!(status, 200);

    let migrate = server
        .beside(&["migrate", "status"])
        .output()
        .await
        .expect("the program runs");
    let listed = String::from_utf8(migrate.stdout).expect("text");
    assert!(
        !listed.is_empty() && listed.lines().all(|line| line.ends_with(" applied")),
        "{listed}"
    );
    let second = server
        .beside(&["--bind", "127.0.0.1:0"])
        .output()
        .await
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(2));
    let refusal = String::from_utf8(second.stderr).expect("text");
    assert!(
        refusal.starts_with("loquat: LOQUAT_DATA_DIR: ") && refusal.lines().count() == 1,
        "{refusal}"
    );

    server.signal(Signal::SIGTERM);
    let (code, said) = server.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("database   PostgreSQL ") && said.contains("-> DATABASE_URL"),
        "{said}"
    );
}

#[tokio::test]
async fn a_stop_waits_for_the_running_reply_and_a_second_signal_does_not() {
    let test = TestDatabase::create().await;
    let server = Program::new(&[]).database(&test).serve().await;
    let client = client();
    let answer: serde_json::Value = client
        .post(server.url("/graphql"))
        .header("x-user-id", "ann")
        .json(&json!({
            "query": "mutation { startChat(input: { message: \"a long answer, please\" }) \
                      { reply { id status } } }",
        }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(
        answer["data"]["startChat"]["reply"]["id"].is_string(),
        "{answer}"
    );

    server.signal(Signal::SIGTERM);
    let readiness = timeout(PATIENCE, async {
        loop {
            let answer = client
                .get(server.url("/health/ready"))
                .send()
                .await
                .expect("the server still answers");
            if answer.status() == 503 {
                return answer.json::<serde_json::Value>().await.expect("JSON");
            }
        }
    })
    .await
    .expect("the server notices the signal");
    assert_eq!(readiness["process"], "stopping");
    assert_eq!(readiness["database"], "ready");

    server.signal(Signal::SIGTERM);
    let (code, said) = server.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stopping at once"), "{said}");
    let handed_over: Vec<bool> = sqlx::query_scalar("select process_id is null from chat.replies")
        .fetch_all(&mut test.superuser().await)
        .await
        .expect("runs");
    assert_eq!(handed_over, [true], "{said}");
}

#[tokio::test]
async fn a_stop_tells_open_sockets_to_come_back() {
    let test = TestDatabase::create().await;
    let server = Program::new(&[]).database(&test).serve().await;
    let mut request = format!("ws://{}/graphql", server.address())
        .into_client_request()
        .expect("a request");
    request.headers_mut().insert(
        "sec-websocket-protocol",
        "graphql-transport-ws".parse().expect("a header"),
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .expect("a socket");
    let init = json!({ "type": "connection_init", "payload": { "X-User-Id": "ann" } });
    socket
        .send(Message::text(init.to_string()))
        .await
        .expect("sent");
    let ack = socket.next().await.expect("a message").expect("text");
    assert!(
        ack.to_text().expect("text").contains("connection_ack"),
        "{ack}"
    );

    server.signal(Signal::SIGTERM);

    let close = timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame;
            }
        }
        None
    })
    .await
    .expect("a close in time");
    assert_eq!(close.expect("a close frame").code, CloseCode::Restart);
    let (code, said) = server.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("did not end in time"), "{said}");
}

#[tokio::test]
async fn a_server_in_production_logs_json_from_its_first_line() {
    let test = TestDatabase::create().await;
    let server = Program::new(&["serve"])
        .database(&test)
        .variable("ENVIRONMENT", "production")
        .variable("JWT_SECRET_KEY", "hunter2-and-more-than-32-bytes-of-it")
        .serve()
        .await;
    let first: serde_json::Value = serde_json::from_str(&server.running).expect("JSON");
    assert_eq!(first["message"], "loquat is running");
    assert_eq!(first["environment"], "production");

    let answer = client()
        .get(server.url("/nowhere?token=hunter2"))
        .header("host", "api.example.com")
        .header("x-request-id", "the-request-of-this-test")
        .header("authorization", "Bearer hunter2")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "the-request-of-this-test");

    server.signal(Signal::SIGTERM);
    let (code, said) = server.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let request = said
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .find(|line| line["message"] == "answered a request")
        .expect("a line of the request");
    assert_eq!(request["http.status"], 404);
    assert_eq!(
        request["spans"][0]["request.id"],
        "the-request-of-this-test"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn migrate_goes_up_and_down_and_says_where_it_stands() {
    let test = TestDatabase::create().await;
    let migrate = async |arguments: &[&str]| {
        let mut all = vec!["migrate"];
        all.extend(arguments);
        let output = Program::new(&all).database(&test).output().await;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    };

    let before = migrate(&["status"]).await;
    assert!(
        before.lines().count() > 0 && before.lines().all(|line| line.ends_with(" pending")),
        "{before}"
    );
    let count = before.lines().count();
    assert_eq!(
        migrate(&["up"]).await,
        format!("Applied {count} migration(s).\n")
    );
    assert_eq!(
        migrate(&["up"]).await,
        "The database has every migration already.\n"
    );
    assert_eq!(migrate(&["down"]).await, "Undid 1 migration(s).\n");
    let between = migrate(&["status"]).await;
    assert_eq!(
        between
            .lines()
            .filter(|line| line.ends_with(" pending"))
            .count(),
        1,
        "{between}"
    );
    assert_eq!(
        migrate(&["down", "99"]).await,
        format!("Undid {} migration(s).\n", count - 1)
    );
    assert_eq!(migrate(&["status"]).await, before);
}

#[tokio::test]
async fn a_token_is_made_in_development_alone() {
    let output = Program::new(&["token", "--user", "ann", "--ttl", "5m"])
        .output()
        .await;
    assert!(output.status.success());
    let token = String::from_utf8(output.stdout).expect("text");
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");

    let line = Program::new(&["token", "--user", "ann"])
        .variable("ENVIRONMENT", "production")
        .variable("JWT_SECRET_KEY", "a-secret-of-more-than-32-bytes-01234")
        .refusal()
        .await;
    assert!(line.contains("ENVIRONMENT=development"), "{line}");
}

#[tokio::test]
async fn the_schema_is_printed_without_any_setting() {
    let output = Program::new(&["schema"]).output().await;
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).expect("text"),
        loquat::graphql::sdl()
    );
}
