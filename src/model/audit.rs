use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ApiKeyId, AuditEventId, UserId};

/// One thing that happened, as the audit log keeps it.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub id: AuditEventId,
    /// Who did it. `None`: nobody who had proved who they are.
    pub user_id: Option<UserId>,
    /// A word of [`AuditAction`], or one that another version of this program wrote.
    pub action: String,
    pub target: Option<AuditTarget>,
    pub outcome: AuditOutcome,
    pub occurred_at: DateTime<Utc>,
    pub address: Option<IpAddr>,
    pub credential: String,
}

/// One thing to be noted. Who did it is said where it is noted.
#[derive(Clone, Debug)]
pub struct NewAuditEvent {
    pub id: AuditEventId,
    pub action: AuditAction,
    pub target: Option<AuditTarget>,
    pub outcome: AuditOutcome,
    pub provenance: Provenance,
}

/// How somebody came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What they proved who they are with: `token:` and the issuer's name, `api_key:` and the
    /// key's prefix, `gateway`, `development`; `none` where there was nothing to prove it.
    pub credential: Arc<str>,
    /// Where the request came from, as far as that is known.
    pub address: Option<IpAddr>,
}

/// What is worth noting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// Somebody was seen for the first time.
    UserCreated,
    UserDeleted,
    UserSuspended,
    UserRestored,
    CredentialRefused,
    ApiKeyCreated,
    ApiKeyRevoked,
    /// What only admins see was asked for.
    AdminAccessed,
}

impl AuditAction {
    /// The word that stands for it in the database, in the log and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserDeleted => "user.deleted",
            Self::UserSuspended => "user.suspended",
            Self::UserRestored => "user.restored",
            Self::CredentialRefused => "credential.refused",
            Self::ApiKeyCreated => "api_key.created",
            Self::ApiKeyRevoked => "api_key.revoked",
            Self::AdminAccessed => "admin.accessed",
        }
    }
}

/// What it was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    User(UserId),
    ApiKey(ApiKeyId),
}

impl AuditTarget {
    /// As the database keeps it: a word for the type, and the id.
    pub const fn parts(self) -> (&'static str, Uuid) {
        match self {
            Self::User(id) => ("user", id.uuid()),
            Self::ApiKey(id) => ("api_key", id.uuid()),
        }
    }

    /// `None`: of a type that this version does not know.
    pub fn from_parts(target_type: &str, id: Uuid) -> Option<Self> {
        match target_type {
            "user" => Some(Self::User(UserId::from_uuid(id))),
            "api_key" => Some(Self::ApiKey(ApiKeyId::from_uuid(id))),
            _ => None,
        }
    }
}

impl From<UserId> for AuditTarget {
    fn from(id: UserId) -> Self {
        Self::User(id)
    }
}

impl From<ApiKeyId> for AuditTarget {
    fn from(id: ApiKeyId) -> Self {
        Self::ApiKey(id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    Succeeded,
    /// Whoever tried it may not do it.
    Denied,
    /// They may, and it did not work.
    Failed,
}

impl AuditOutcome {
    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Denied => "DENIED",
            Self::Failed => "FAILED",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Succeeded, Self::Denied, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }
}

impl Provenance {
    /// Of somebody who proved nothing.
    pub fn of_nobody(address: Option<IpAddr>) -> Self {
        Self {
            credential: "none".into(),
            address,
        }
    }
}

impl NewAuditEvent {
    pub fn succeeded(action: AuditAction, provenance: &Provenance) -> Self {
        Self::new(action, AuditOutcome::Succeeded, provenance)
    }

    pub fn denied(action: AuditAction, provenance: &Provenance) -> Self {
        Self::new(action, AuditOutcome::Denied, provenance)
    }

    pub fn failed(action: AuditAction, provenance: &Provenance) -> Self {
        Self::new(action, AuditOutcome::Failed, provenance)
    }

    /// Says what it was done to.
    pub fn on(self, target: impl Into<AuditTarget>) -> Self {
        Self {
            target: Some(target.into()),
            ..self
        }
    }

    fn new(action: AuditAction, outcome: AuditOutcome, provenance: &Provenance) -> Self {
        Self {
            id: AuditEventId::new(),
            action,
            target: None,
            outcome,
            provenance: provenance.clone(),
        }
    }
}
