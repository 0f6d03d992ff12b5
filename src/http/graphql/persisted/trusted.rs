//! The documents of the operator's manifests.
//!
//! Invariant: what is in here has been held against the limits and the schema, and each name leads
//! to one text.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::digest_of;
use crate::graphql::Vetting;

/// How the draft marks an id as the SHA-256 of its document.
const SHA256: &str = "sha256:";

/// By their ids and by the SHA-256 of their texts, both without `sha256:` in front.
#[derive(Clone, Debug, Default)]
pub struct TrustedDocuments {
    by_name: HashMap<String, Arc<str>>,
    /// How many texts there are.
    count: usize,
}

/// Why the documents of a manifest cannot be trusted. Each text is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest {} cannot be read ({source}); check the path", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "the manifest {} is not one ({problem}); it is an object of ids and documents, or what \
         Apollo's generate-persisted-query-manifest writes",
        .path.display()
    )]
    Malformed { path: PathBuf, problem: String },
    #[error("the manifest {} holds no document; run the client's compiler again", .path.display())]
    Empty { path: PathBuf },
    #[error(
        "the manifest {}: document \"{}\" {problem}",
        .path.display(), .id.escape_debug()
    )]
    Document {
        path: PathBuf,
        id: String,
        problem: String,
    },
}

impl TrustedDocuments {
    /// Reads the manifests, and checks every document of theirs.
    pub async fn load(paths: &[PathBuf], vetting: &Vetting) -> Result<Self, ManifestError> {
        let mut trusted = Self::default();
        for path in paths {
            let text = read(path).map_err(|source| ManifestError::Unreadable {
                path: path.clone(),
                source,
            })?;
            let entries = entries(text.trim_start_matches('\u{feff}')).map_err(|problem| {
                ManifestError::Malformed {
                    path: path.clone(),
                    problem,
                }
            })?;
            if entries.is_empty() {
                return Err(ManifestError::Empty { path: path.clone() });
            }
            for (id, text) in entries {
                trusted.add(&id, &text, vetting).await.map_err(|problem| {
                    ManifestError::Document {
                        path: path.clone(),
                        id,
                        problem,
                    }
                })?;
            }
        }
        Ok(trusted)
    }

    async fn add(&mut self, id: &str, text: &str, vetting: &Vetting) -> Result<(), String> {
        let name = id.strip_prefix(SHA256);
        let digest = hex::encode(digest_of(text));
        if name.is_some_and(|name| name != digest) {
            return Err("does not have the SHA-256 that its id says".to_owned());
        }
        let name = name.unwrap_or(id);
        if name.is_empty() {
            return Err("has an empty id".to_owned());
        }
        let text = match self.by_name.get(&digest) {
            Some(known) => known.clone(),
            None => {
                vetting.check(text).await.map_err(|error| {
                    let at = error.locations.first();
                    let place = at.map(|at| format!(" (line {}, column {})", at.line, at.column));
                    format!("cannot run{}: {}", place.unwrap_or_default(), error.message)
                })?;
                self.count += 1;
                Arc::from(text)
            }
        };
        for name in [name, digest.as_str()] {
            let known = self.by_name.insert(name.to_owned(), text.clone());
            if known.is_some_and(|known| known != text) {
                return Err("is there with two texts; an id names one document".to_owned());
            }
        }
        Ok(())
    }

    /// The document of this id.
    pub(super) fn named(&self, id: &str) -> Option<&Arc<str>> {
        self.by_name.get(id.strip_prefix(SHA256).unwrap_or(id))
    }

    /// Whether one of them has exactly this text.
    pub(super) fn holds(&self, text: &str) -> bool {
        let named = self.by_name.get(&hex::encode(digest_of(text)));
        // An id may look like the hash of another text.
        named.is_some_and(|known| **known == *text)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many documents there are, however many names they have.
    pub fn len(&self) -> usize {
        self.count
    }
}

/// What Apollo's manifest calls itself.
const APOLLO: &str = "apollo-persisted-query-manifest";

fn read(path: &Path) -> io::Result<String> {
    // A pipe that nobody writes to would never be read to its end.
    match fs::metadata(path)?.is_file() {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is no file")),
    }
}

/// The ids and documents of a manifest, in its order.
fn entries(text: &str) -> Result<Vec<(String, String)>, String> {
    let Members(members) = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let format = members.iter().find(|(key, _)| key == "format");
    if let Some((_, format)) = format
        && format == APOLLO
    {
        return apollo_entries(members);
    }
    members
        .into_iter()
        .map(|(id, text)| match text {
            Value::String(text) => Ok((id, text)),
            _ => Err(format!("\"{}\" is not a document", id.escape_debug())),
        })
        .collect()
}

#[derive(Deserialize)]
struct ApolloOperation {
    id: String,
    body: String,
}

fn apollo_entries(members: Vec<(String, Value)>) -> Result<Vec<(String, String)>, String> {
    let mut operations = None;
    for (key, value) in members {
        match key.as_str() {
            "version" if value != 1 => return Err(format!("its version is {value}, not 1")),
            "operations" => operations = Some(value),
            _ => {}
        }
    }
    let operations: Vec<ApolloOperation> = serde_json::from_value(operations.unwrap_or_default())
        .map_err(|error| format!("operations: {error}"))?;
    Ok(operations
        .into_iter()
        .map(|operation| (operation.id, operation.body))
        .collect())
}

/// The members of an object, those included that have the same key.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::{
        guard::{Guard, Limits},
        sdl,
    };

    async fn load(manifests: &[&str]) -> Result<TrustedDocuments, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut paths = Vec::new();
        for (place, text) in manifests.iter().enumerate() {
            let path = folder.path().join(format!("{place}.json"));
            std::fs::write(&path, text).expect("a file");
            paths.push(path);
        }
        let vetting = Vetting::new(Guard::new(Limits::default(), &sdl()));
        let loaded = TrustedDocuments::load(&paths, &vetting).await;
        let folder = format!("{}/", folder.path().display());
        loaded.map_err(|error| error.to_string().replace(&folder, ""))
    }

    const VIEWER: &str = "query Me { viewer { id } }";

    #[tokio::test]
    async fn each_compiler_s_manifest_is_understood() {
        let digest = hex::encode(digest_of(VIEWER));
        let codegen = format!(r#"{{"{digest}": "{VIEWER}"}}"#);
        let relay = format!(r#"{{"5d41402abc4b2a76b9719d911017c592": "{VIEWER}"}}"#);
        let apollo = format!(
            r#"{{"format": "apollo-persisted-query-manifest", "version": 1, "operations":
                [{{"id": "me", "name": "Me", "type": "query", "body": "{VIEWER}"}}]}}"#
        );
        let trusted = load(&[&codegen, &relay, &apollo]).await.expect("documents");
        assert_eq!(trusted.len(), 1);
        let prefixed = format!("sha256:{digest}");
        for name in [&digest, &prefixed, "5d41402abc4b2a76b9719d911017c592", "me"] {
            assert_eq!(trusted.named(name).map(|text| &**text), Some(VIEWER));
        }
        assert!(trusted.named("Me").is_none() && trusted.named(VIEWER).is_none());
        assert!(trusted.holds(VIEWER) && !trusted.holds("query Me { viewer { id }}"));
        // A document may be named `format`.
        let trusted = load(&[&format!(r#"{{"format": "{VIEWER}"}}"#)]).await;
        assert!(trusted.expect("documents").named("format").is_some());
    }

    #[tokio::test]
    async fn what_documents_may_hold_passes() {
        for text in [
            "query A($n: Int!, $with: Boolean!) { viewer { conversations(first: $n) \
             { nodes { id @include(if: $with) ...C } } } } fragment C on Conversation { title }",
            "query A { viewer { id } } query B { viewer { displayName } }",
            "subscription S($id: ID!) { messageStream(messageId: $id) { __typename } }",
            "mutation M($input: StartChatInput!) { startChat(input: $input) \
             { conversation { id } } }",
            "{ __schema { queryType { name } } }",
        ] {
            let loaded = load(&[&serde_json::json!({ "a": text }).to_string()]).await;
            assert!(loaded.is_ok(), "{text}: {loaded:?}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_with_its_file_and_id() {
        for (manifests, said) in [
            (
                &[r#"{"a": "{ viewer { id } }"}"#, "{"][..],
                "1.json is not one (EOF while parsing",
            ),
            (&["[]"], "0.json is not one (invalid type: sequence"),
            (&["{}"], "the manifest 0.json holds no document"),
            (
                &[r#"{"a": 1}"#],
                r#"0.json is not one ("a" is not a document)"#,
            ),
            (
                &[r#"{"format": "apollo-persisted-query-manifest", "version": 2}"#],
                "its version is 2, not 1",
            ),
            (
                &[r#"{"format": "apollo-persisted-query-manifest", "operations": [{}]}"#],
                "operations: missing field `id`",
            ),
            (
                &[r#"{"a": "{ viewer { id } }", "a": "{ __typename }"}"#],
                r#"0.json: document "a" is there with two texts"#,
            ),
            (
                &[
                    r#"{"a": "{ viewer { id } }"}"#,
                    r#"{"a": "{ __typename }"}"#,
                ],
                r#"1.json: document "a" is there with two texts"#,
            ),
            (
                &[r#"{"sha256:00": "{ viewer { id } }"}"#],
                "does not have the SHA-256 that its id says",
            ),
            (&[r#"{"": "{ viewer { id } }"}"#], "has an empty id"),
            (
                &[r#"{"a": "{ viewer { id }"}"#],
                r#"0.json: document "a" cannot run (line 1, column 16): Syntax error"#,
            ),
            (
                &[r#"{"a": "{\n  viewer { nothing }\n}"}"#],
                r#"document "a" cannot run (line 2, column 12): Unknown field "nothing" on type "Viewer"."#,
            ),
            (
                &[
                    r#"{"a": "{ viewer { conversations(first: 100) { nodes { messages(first: 100) { nodes { id role content } } } } } }"}"#,
                ],
                " may ask for at most",
            ),
            (
                &[
                    r#"{"a": "subscription { viewerEvents { __typename } b: viewerEvents { __typename } }"}"#,
                ],
                "cannot run",
            ),
        ] {
            let error = load(manifests).await.expect_err(said);
            assert!(error.contains(said), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
