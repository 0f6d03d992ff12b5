//! Documents that are named instead of sent: automatic persisted queries and trusted documents.

mod automatic;
mod shared;
mod trusted;

use loquat::{
    config::AdmittedDocuments,
    http::graphql::{Persisted, TrustedDocuments},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Users' documents alone.
fn admitting(admitted: AdmittedDocuments) -> Persisted {
    Persisted::new(admitted, TrustedDocuments::default(), None)
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// What Apollo's protocol says of a document of this hash.
fn named(hash: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash}})
}

/// A request that names the document and does not write it.
fn by_hash(text: &str) -> Value {
    json!({"extensions": named(&hash(text))})
}

/// A request that writes the document and says its hash.
fn with_hash(text: &str) -> Value {
    json!({"query": text, "extensions": named(&hash(text))})
}

/// Message and code of the only error, where nothing else is answered.
fn refused(answer: &Value) -> (&str, &str) {
    let error = &answer["errors"][0];
    assert_eq!(
        answer["errors"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    assert_eq!(answer.get("data"), None, "{answer}");
    (
        error["message"].as_str().expect("a message"),
        error["extensions"]["code"].as_str().expect("a code"),
    )
}

const NOT_FOUND: (&str, &str) = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND");
