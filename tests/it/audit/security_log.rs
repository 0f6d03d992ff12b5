//! The security log: whatever else is logged, and in a file of its own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::events::{signed, token, with_issuer};
use crate::support::{
    TestDatabase, eventually,
    process::Device,
    program::{Ended, Program, Server},
};

async fn visit(server: &Server, user: &str) {
    let device = Device::with_token(server, &token(user));
    device.data("{ viewer { id } }", json!({})).await;
}

async fn intrude(server: &Server) {
    let device = Device::with_token(server, &signed("eve", "another secret of 32 bytes or more"));
    assert_eq!(
        device.answer("{ viewer { id } }", json!({})).await.status,
        401
    );
}

async fn stop(server: Server) -> Ended {
    server.signal(Signal::SIGTERM);
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    ended
}

fn logging_to(path: &Path, program: Program) -> Program {
    program.variable("LOQUAT_SECURITY_LOG", path.to_str().expect("text"))
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path)
        .expect("the security log")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

#[tokio::test]
async fn security_events_are_logged_whatever_else_is() {
    for filter in ["off", "error", "security=off", "info,security=error"] {
        let test = TestDatabase::create().await;
        let program = with_issuer(&test).await.variable("LOQUAT_LOG", filter);
        let server = program.serve().await;
        visit(&server, "ann").await;
        intrude(&server).await;
        let output = stop(server).await.output;
        for event in ["user.created", "credential.refused"] {
            assert!(output.contains(event), "{filter}: {output}");
        }
        if filter == "off" {
            assert!(!output.contains("answered a request"), "{output}");
        }
    }
}

#[tokio::test]
async fn with_a_file_of_their_own_they_are_there_alone_and_say_who_where_and_why() {
    let test = TestDatabase::create().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("security.log");
    let program = with_issuer(&test).await.variable("LOQUAT_LOG", "trace");
    let server = logging_to(&path, program).serve().await;
    visit(&server, "ann").await;
    intrude(&server).await;
    let output = stop(server).await.output;

    assert!(output.contains("answered a request"));
    assert!(!output.contains("a security event"), "{output}");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = lines(&path);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let [created, refused] = &lines[..] else {
        unreachable!("two lines");
    };
    assert_eq!(created["security.event"], "user.created");
    assert_eq!(created["security.outcome"], "SUCCEEDED");
    assert_eq!(created["security.credential"], "token:jwt");
    assert_eq!(created["client.address"], "127.0.0.1");
    assert!(created["user.id"].is_string());
    assert_eq!(refused["security.event"], "credential.refused");
    assert_eq!(refused["security.outcome"], "DENIED");
    assert!(
        refused["security.reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("the signature is wrong")),
        "{refused}"
    );
    assert_eq!(refused.get("user.id"), None);
    for line in &lines {
        assert!(line["spans"][0]["request.id"].is_string(), "{line}");
        assert_eq!(line["target"], "security");
    }
}

#[tokio::test]
async fn the_file_is_kept_at_a_restart_and_may_be_copied_and_truncated() {
    let test = TestDatabase::create().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("security.log");
    let server = logging_to(&path, with_issuer(&test).await).serve().await;
    visit(&server, "ann").await;
    stop(server).await;
    let server = logging_to(&path, with_issuer(&test).await).serve().await;
    visit(&server, "bob").await;
    eventually("both are there", || async {
        (lines(&path).len() == 2).then_some(())
    })
    .await;

    fs::copy(&path, folder.path().join("security.log.1")).expect("a copy");
    fs::write(&path, "").expect("truncated");
    visit(&server, "cyd").await;
    stop(server).await;
    assert_eq!(lines(&path).len(), 1);
    let bytes = fs::read(&path).expect("the log");
    assert_eq!(bytes[0], b'{', "nothing before the first line");
}
