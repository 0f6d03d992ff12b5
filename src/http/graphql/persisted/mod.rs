//! Documents that a request names instead of writing them out.
//!
//! Two kinds, found in this order. *Trusted documents* are those of the manifests that the operator
//! has given; they are named by `documentId` (the GraphQL over HTTP draft, its appendix on
//! persisted documents), by Relay's `doc_id`, or by the hash of Apollo's protocol. *Automatic* ones
//! are what signed-in users have sent with their SHA-256
//! (<https://www.apollographql.com/docs/apollo-server/performance/apq>).
//!
//! Invariant: a name only ever leads to a text. That text then goes the way of every text: the
//! guard reads it, and whoever asks needs the same rights. Nobody who has not signed in learns
//! whether a name is known, or makes one known.

mod automatic;
mod trusted;

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    failure::{Failure, coded},
    params::{Params, faulty},
};
use crate::{broker::Redis, config::AdmittedDocuments, graphql::ErrorCode, model::UserId};

use automatic::Automatic;
pub use trusted::{ManifestError, TrustedDocuments};

/// The SHA-256 of a document's text.
type Digest = [u8; 32];

/// Of one process; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Persisted {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trusted: TrustedDocuments,
    admitted: AdmittedDocuments,
    /// Of use where they are admitted.
    automatic: Automatic,
}

impl Default for Persisted {
    fn default() -> Self {
        Self::new(
            AdmittedDocuments::Automatic,
            TrustedDocuments::default(),
            None,
        )
    }
}

/// The text to run.
pub(super) struct Found {
    pub text: Arc<str>,
    /// That it came with its digest, under which it may be kept.
    offered: Option<Digest>,
}

impl Persisted {
    /// What users have sent is kept in memory, and in Redis for other processes, if there is one.
    pub fn new(
        admitted: AdmittedDocuments,
        trusted: TrustedDocuments,
        redis: Option<Redis>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                trusted,
                admitted,
                automatic: Automatic::new(redis),
            }),
        }
    }

    /// The text that the request writes or names.
    pub(super) async fn find(
        &self,
        params: &mut Params,
        is_signed_in: bool,
    ) -> Result<Found, Failure> {
        let query = params.query.take();
        if let Some(id) = &params.document_id {
            // Whatever else may name a document, this is the one that names a trusted one.
            if query.is_some() {
                return Err(faulty(
                    "documentId",
                    "The parameters \"query\" and \"documentId\" exclude each other: send one of them.",
                ));
            }
            known_to(is_signed_in)?;
            return match self.inner.trusted.named(id) {
                Some(text) => Ok(Found::plain(text)),
                None => Err(not_found()),
            };
        }
        let hash = params.persisted_query().map(sha256_hash).transpose()?;
        // Beside such an id the text is not looked at: compilers sort definitions and write them anew,
        // so that what Apollo Client sends over a socket is not what its manifest holds.
        if is_signed_in && let Some(text) = hash.and_then(|hash| self.inner.trusted.named(hash)) {
            return Ok(Found::plain(text));
        }
        match (query, hash) {
            (Some(query), hash) => self.written(query, hash, is_signed_in),
            (None, Some(hash)) => {
                known_to(is_signed_in)?;
                self.hashed(hash).await
            }
            (None, None) => Err(faulty("query", "The parameter \"query\" is missing.")),
        }
    }

    /// A text, which may come with its hash.
    fn written(
        &self,
        query: String,
        hash: Option<&str>,
        is_signed_in: bool,
    ) -> Result<Found, Failure> {
        let offered = hash.map(parse_digest).transpose()?;
        if offered.is_some_and(|digest| digest_of(&query) != digest) {
            let mut failure = Failure::request(*coded(
                ErrorCode::BadUserInput,
                format!("{HASH} is not the SHA-256 of \"query\"."),
            ));
            failure.set("argument", HASH);
            return Err(failure);
        }
        if self.inner.admitted == AdmittedDocuments::Trusted {
            known_to(is_signed_in)?;
            if !self.inner.trusted.holds(&query) {
                return Err(Failure::request(*coded(
                    ErrorCode::Forbidden,
                    "This server runs trusted documents alone, and this is none of them: add it to \
                     the manifest, or ask for one by its documentId.",
                )));
            }
        }
        Ok(Found {
            text: query.into(),
            offered,
        })
    }

    /// A hash without the text, and of no trusted document.
    async fn hashed(&self, hash: &str) -> Result<Found, Failure> {
        match self.inner.admitted {
            AdmittedDocuments::Automatic => {
                match self.inner.automatic.find(&parse_digest(hash)?).await {
                    Some(text) => Ok(Found::plain(&text)),
                    None => Err(not_found()),
                }
            }
            // Whoever hears that hashes are not supported sends none any more, which would be a
            // pity where there are documents that have them.
            AdmittedDocuments::Written if self.inner.trusted.is_empty() => {
                Err(Failure::request(*coded(
                    ErrorCode::PersistedQueryNotSupported,
                    "PersistedQueryNotSupported",
                )))
            }
            AdmittedDocuments::Written | AdmittedDocuments::Trusted => Err(not_found()),
        }
    }

    /// Keeps what came with its digest, now that the guard has accepted it from this user.
    pub(super) async fn keep(&self, found: &Found, user_id: UserId) {
        if self.inner.admitted == AdmittedDocuments::Automatic
            && let Some(digest) = found.offered
        {
            self.inner
                .automatic
                .keep(digest, &found.text, user_id)
                .await;
        }
    }
}

impl Found {
    fn plain(text: &Arc<str>) -> Self {
        Self {
            text: text.clone(),
            offered: None,
        }
    }
}

const HASH: &str = "extensions.persistedQuery.sha256Hash";

/// What is written there beside the version is for others: urql notes its misses.
fn sha256_hash(said: &Value) -> Result<&str, Failure> {
    let Some(members) = said.as_object() else {
        return Err(faulty(
            "extensions.persistedQuery",
            "extensions.persistedQuery must be an object.",
        ));
    };
    if members.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(faulty(
            "extensions.persistedQuery.version",
            "extensions.persistedQuery.version must be 1: there is no other protocol.",
        ));
    }
    match members.get("sha256Hash") {
        Some(Value::String(hash)) => Ok(hash),
        _ => Err(faulty(HASH, &format!("{HASH} must be a string."))),
    }
}

/// Clients write lower case; upper case means the same.
fn parse_digest(hash: &str) -> Result<Digest, Failure> {
    let mut digest = Digest::default();
    hex::decode_to_slice(hash, &mut digest)
        .map_err(|_| faulty(HASH, &format!("{HASH} must be 64 hexadecimal digits.")))?;
    Ok(digest)
}

fn digest_of(text: &str) -> Digest {
    Sha256::digest(text).into()
}

/// Nobody in particular learns which names and texts are known: not even from what their request is
/// refused for afterwards.
fn known_to(is_signed_in: bool) -> Result<(), Failure> {
    match is_signed_in {
        true => Ok(()),
        false => Err(Failure::sign_in_first()),
    }
}

/// Clients of Apollo's protocol know it by its message, and send the text.
fn not_found() -> Failure {
    Failure::request(*coded(
        ErrorCode::PersistedQueryNotFound,
        "PersistedQueryNotFound",
    ))
}
