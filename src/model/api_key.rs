use chrono::{DateTime, Utc};

use super::ApiKeyId;

/// What its owner may know of a key: everything but the secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    /// How the key begins.
    pub prefix: String,
    /// In the order of [`ApiKeyScope::ALL`], never empty.
    pub scopes: Vec<ApiKeyScope>,
    pub created_at: DateTime<Utc>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyScope {
    Read,
    /// Implies `Read`.
    Write,
    /// What the schema keeps for admins, and that alone.
    Admin,
}

impl ApiKeyScope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Admin => "ADMIN",
        }
    }

    /// Each scope once and in order, with those that the given ones imply.
    pub fn normalized(given: &[Self]) -> Vec<Self> {
        let has = |scope| given.contains(&scope);
        Self::ALL
            .into_iter()
            .filter(|scope| has(*scope) || *scope == Self::Read && has(Self::Write))
            .collect()
    }
}
