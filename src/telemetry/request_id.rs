use std::{fmt, sync::Arc};

use uuid::Uuid;

/// The longest id that is taken over from a client.
const LONGEST: usize = 128;

/// Names one request in the logs, in the answer's `x-request-id` and in the `requestId` of an
/// internal error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A fresh UUIDv7: ids made later sort later.
    #[expect(
        clippy::new_without_default,
        reason = "an id is made on purpose, never by default"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// The id that a client or a proxy chose, if it can stand in a log line and a header.
    pub fn from_client(id: &str) -> Option<Self> {
        let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (!id.is_empty() && id.len() <= LONGEST && id.chars().all(sane)).then(|| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn only_a_client_s_sane_id_is_taken_over() {
        let taken = |id: &str| RequestId::from_client(id).is_some();

        assert!(taken("0192f8a1-7c3e-7d52-9c3e-1f2a3b4c5d6e"));
        assert!(taken("Root.1_67891233-abcdef012345678912345678"));
        assert!(!taken(""));
        assert!(!taken("a b"));
        assert!(!taken("a\nb"));
        assert!(!taken("{\"level\":\"error\"}"));
        assert!(!taken(&"a".repeat(129)));
    }
}
