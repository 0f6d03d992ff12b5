use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::User;
use crate::{
    graphql::{
        ApiError, List,
        context::request_context,
        cursor::{self, AuditList, PageInfo},
        ids::{self, AdminUserId},
        scalars::DateTime,
    },
    model::{self, AuditTarget, Page, Right},
};

pub struct AuditEvent(pub model::AuditEvent);

/// Something that happened to an account: who did it, with which credential, from where.
#[Object]
impl AuditEvent {
    /// Opaque and globally unique.
    pub async fn id(&self) -> ID {
        ids::encode(self.0.id)
    }

    /// What was done: `user.created`, `user.deleted`, `user.suspended`, `user.restored`,
    /// `credential.refused`, `api_key.created`, `api_key.revoked`, `admin.accessed`; there will be
    /// more. At most 64 characters.
    async fn action(&self) -> &str {
        &self.0.action
    }

    /// Who did it, for admins: null for everybody else, and where it was nobody who had proved who
    /// they are, or somebody who was deleted since.
    async fn user(&self, context: &Context<'_>) -> Option<Result<User, ApiError>> {
        self.find_user(context).await.transpose()
    }

    /// What it was done to: the id of a User or an ApiKey. That may be gone by now.
    async fn target_id(&self) -> Option<ID> {
        self.0.target.map(|target| match target {
            AuditTarget::User(id) => ids::encode(AdminUserId::from(id)),
            AuditTarget::ApiKey(id) => ids::encode(id),
        })
    }

    /// Whether it was done.
    async fn outcome(&self) -> AuditOutcome {
        self.0.outcome.into()
    }

    /// When it happened.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// Where it came from: an IPv4 or IPv6 address, at most 45 characters. Null where that is not
    /// known, and where the user was deleted since.
    async fn ip_address(&self) -> Option<String> {
        self.0.address.map(|address| address.to_string())
    }

    /// What the user had proved who they are with: `token:` and the issuer's name, `api_key:` and
    /// the key's prefix, `gateway` or `development`; of a credential that was refused, its kind
    /// alone, or `none`. At most 300 characters.
    async fn credential(&self) -> &str {
        &self.0.credential
    }
}

impl AuditEvent {
    async fn find_user(&self, context: &Context<'_>) -> Result<Option<User>, ApiError> {
        let request = request_context(context)?;
        match self.0.user_id {
            Some(id) if request.viewer().access().allows(Right::Admin) => {
                Ok(request.users().load_one(id).await?.map(User))
            }
            _ => Ok(None),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::AuditOutcome")]
enum AuditOutcome {
    /// It was done.
    Succeeded,
    /// Whoever tried it may not do it.
    Denied,
    /// It could not be done.
    Failed,
}

pub struct AuditEventConnection {
    pub list: AuditList,
    pub page: Page<model::AuditEvent>,
}

/// A page of events.
#[Object]
impl AuditEventConnection {
    async fn edges(&self) -> List<AuditEventEdge> {
        self.page
            .items
            .iter()
            .map(|event| AuditEventEdge {
                cursor: self.cursor_of(event),
                node: AuditEvent(event.clone()),
            })
            .collect()
    }

    async fn nodes(&self) -> List<AuditEvent> {
        self.page.items.iter().cloned().map(AuditEvent).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, |event| self.cursor_of(event))
    }
}

impl AuditEventConnection {
    fn cursor_of(&self, event: &model::AuditEvent) -> String {
        cursor::encode(&self.list, (event.occurred_at, event.id))
    }
}

/// An event in a list.
#[derive(SimpleObject)]
pub struct AuditEventEdge {
    /// Good for `after` in the same list.
    cursor: String,
    node: AuditEvent,
}
