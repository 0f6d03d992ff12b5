//! Clients that mean harm, on the whole server with its real schema: each gets a GraphQL error
//! with a code, learns nothing of the inside, and leaves the server as it was.

mod documents;
mod fuzz;
mod requests;
mod sockets;
mod strings;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{process::Device, program::Server};

/// Words of the inside.
const INTERNAL: [&str; 20] = [
    "sqlx",
    "panicked",
    "src/",
    ".rs",
    "rust",
    "postgres",
    "async_graphql",
    "async-graphql",
    "serde",
    "axum",
    "hyper",
    "tungstenite",
    "chat.",
    "relation",
    "violates",
    "thread",
    "backtrace",
    "invalid byte",
    "sqlstate",
    "returning",
];

/// One error, or several, each coded and none telling of the inside.
fn assert_harmless(what: &str, errors: &Value) {
    let errors = errors
        .as_array()
        .unwrap_or_else(|| panic!("{what}: no errors"));
    assert!(!errors.is_empty(), "{what}");
    for error in errors {
        let code = error["extensions"]["code"].as_str();
        assert_ne!(code, Some("INTERNAL_SERVER_ERROR"), "{what}: {error}");
        assert!(code.is_some(), "{what}: {error}");
        let text = error.to_string().to_lowercase();
        for word in INTERNAL {
            assert!(!text.contains(word), "{what}: {word} in {error}");
        }
    }
}

/// A good client is served as ever.
async fn still_answers(device: &Device) {
    let data = device.data("{ viewer { externalId } }", json!({})).await;
    assert_eq!(data["viewer"]["externalId"], "mallory");
}

async fn ends_without_a_fault(server: Server) {
    server.signal(Signal::SIGTERM);
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for line in ended.output.lines() {
        assert!(
            !line.contains(" ERROR ") && !line.contains("panicked"),
            "{line}"
        );
    }
}
