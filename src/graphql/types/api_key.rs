use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use crate::{
    graphql::{
        ApiError, List,
        context::{accounts, request_context},
        cursor::{self, ApiKeyList, PageInfo},
        ids,
        scalars::DateTime,
    },
    model::{self, Page},
};

pub struct ApiKey(pub model::ApiKey);

/// A credential that a user has made for a program: `Authorization: Bearer loq_…`. It stands for
/// its user, as far as its scopes go.
#[Object]
impl ApiKey {
    /// Opaque and globally unique.
    pub async fn id(&self) -> ID {
        ids::encode(self.0.id)
    }

    /// What the user calls it. At most 255 characters.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// How the key begins, to tell it from others. Always 16 characters.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// What it may be used for.
    async fn scopes(&self) -> Vec<ApiKeyScope> {
        self.0.scopes.iter().copied().map(Into::into).collect()
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When a program last signed in with it, to the minute; null: never.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime)
    }

    /// From when on it is refused; null: it does not expire.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// Since when it is refused because it was revoked; null: it is not.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }
}

/// What an API key may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::ApiKeyScope")]
pub enum ApiKeyScope {
    /// Queries and subscriptions.
    Read,
    /// Mutations on the user's own things, other than making API keys and deleting the user.
    /// Implies READ.
    Write,
    /// What is kept for admins, and that alone: add READ or WRITE for the rest. It works only
    /// while the user is an admin.
    Admin,
}

pub struct ApiKeyConnection {
    pub page: Page<model::ApiKey>,
}

/// A page of API keys.
#[Object]
impl ApiKeyConnection {
    async fn edges(&self) -> List<ApiKeyEdge> {
        self.page
            .items
            .iter()
            .cloned()
            .map(ApiKeyEdge::new)
            .collect()
    }

    async fn nodes(&self) -> List<ApiKey> {
        self.page.items.iter().cloned().map(ApiKey).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, cursor_of)
    }

    /// How many there are, on all pages together. Counted only when asked for.
    async fn total_count(&self, context: &Context<'_>) -> Result<i32, ApiError> {
        let viewer = request_context(context)?.viewer();
        let count = accounts(context).count_api_keys(viewer).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// An API key in a list.
#[derive(SimpleObject)]
pub struct ApiKeyEdge {
    /// Good for `after`.
    cursor: String,
    node: ApiKey,
}

impl ApiKeyEdge {
    pub fn new(key: model::ApiKey) -> Self {
        Self {
            cursor: cursor_of(&key),
            node: ApiKey(key),
        }
    }
}

fn cursor_of(key: &model::ApiKey) -> String {
    cursor::encode(&ApiKeyList, key.id)
}
