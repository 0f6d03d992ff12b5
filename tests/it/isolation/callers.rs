//! Who tries, and what each of them shows.

use serde_json::json;

use super::stage::{Credential, Stage};
use crate::support::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Another user, with a token and every right over their own things.
    SecondUser,
    Anonymous,
    Admin,
    /// An API key of the second user's that may only read, as those of the next two.
    ReadKey,
    OwnersReadKey,
    AdminsReadKey,
}

impl Caller {
    pub const ALL: [Self; 6] = [
        Self::SecondUser,
        Self::Anonymous,
        Self::Admin,
        Self::ReadKey,
        Self::OwnersReadKey,
        Self::AdminsReadKey,
    ];

    /// The head of the column in the matrix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecondUser => "second user",
            Self::Anonymous => "anonymous",
            Self::Admin => "admin",
            Self::ReadKey => "read key",
            Self::OwnersReadKey => "owner's read key",
            Self::AdminsReadKey => "admin's read key",
        }
    }

    pub const fn may_only_read(self) -> bool {
        matches!(
            self,
            Self::ReadKey | Self::OwnersReadKey | Self::AdminsReadKey
        )
    }
}

/// Whoever is not the owner and has things of their own: as they sign in themselves, and as a
/// program does that bears a key of theirs.
pub fn strangers() -> [(Credential, [Caller; 2]); 2] {
    [
        (
            Credential::token("bob"),
            [Caller::SecondUser, Caller::ReadKey],
        ),
        (
            Credential::admin("root"),
            [Caller::Admin, Caller::AdminsReadKey],
        ),
    ]
}

/// An API key that may only read.
pub struct ReadKey {
    pub id: String,
    pub cursor: String,
    pub credential: Credential,
}

impl ReadKey {
    /// Makes one and uses it: the last use, to the minute, is then the same for whoever looks.
    pub async fn of(who: &Credential, name: &str, stage: &Stage) -> Self {
        let document = "mutation($name: String!) { createApiKey(input: { name: $name, scopes: [READ] }) \
            { secret apiKeyEdge { cursor node { id } } } }";
        let made = stage.data(who, document, json!({ "name": name })).await;
        let (edge, secret) = (
            &made["createApiKey"]["apiKeyEdge"],
            &made["createApiKey"]["secret"],
        );
        let key = Self {
            id: text(&edge["node"]["id"]),
            cursor: text(&edge["cursor"]),
            credential: Credential::Bearer(text(secret)),
        };
        stage
            .data(&key.credential, "{ viewer { id } }", json!({}))
            .await;
        key
    }
}
