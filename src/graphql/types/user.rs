use async_graphql::{Context, ID, Object, SimpleObject};

use super::usage::{Usage, time_range};
use crate::{
    db,
    graphql::{
        ApiError, List,
        context::request_context,
        cursor::{PageInfo, UserList, encode},
        ids::{self, AdminUserId},
        scalars::DateTime,
    },
    model::Page,
};

#[derive(Clone)]
pub struct User(pub db::User);

/// What an admin sees of a user: never what they wrote.
#[Object]
impl User {
    /// Opaque and globally unique. Not the id that the user has as a Viewer.
    pub async fn id(&self) -> ID {
        ids::encode(AdminUserId::from(self.0.user_id))
    }

    /// The name of the configured issuer that vouched for the user.
    async fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The issuer's own id of the user: any text, not always a UUID. At most 255 characters.
    async fn external_id(&self) -> &str {
        &self.0.external_id
    }

    /// As the issuer's tokens last said, at most 320 characters.
    async fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// As the issuer's tokens last said, at most 255 characters.
    async fn display_name(&self) -> Option<&str> {
        self.0.display_name.as_deref()
    }

    /// When this server first saw the user.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When the user was last seen, to the minute.
    async fn last_active_at(&self) -> DateTime {
        DateTime(self.0.last_active_at)
    }

    /// Since when the user is shut out; null: they are not.
    async fn suspended_at(&self) -> Option<DateTime> {
        self.0.suspended_at.map(DateTime)
    }

    /// What the replies to the user have cost.
    async fn usage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only what ended then or later.")] since: Option<DateTime>,
        #[graphql(desc = "Only what ended before.")] until: Option<DateTime>,
    ) -> Result<Usage, ApiError> {
        let key = (self.0.user_id, time_range(since, until));
        let usage = request_context(context)?.user_usage().load_one(key).await?;
        Ok(usage.unwrap_or_default().into())
    }
}

pub struct UserConnection {
    pub list: UserList,
    pub page: Page<db::User>,
}

/// A page of users.
#[Object]
impl UserConnection {
    async fn edges(&self) -> List<UserEdge> {
        self.page
            .items
            .iter()
            .map(|user| UserEdge {
                cursor: self.cursor(user),
                node: User(user.clone()),
            })
            .collect()
    }

    async fn nodes(&self) -> List<User> {
        self.page.items.iter().cloned().map(User).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, |user| self.cursor(user))
    }
}

impl UserConnection {
    fn cursor(&self, user: &db::User) -> String {
        encode(&self.list, (user.created_at, user.user_id))
    }
}

/// A user and their place in the list.
#[derive(SimpleObject)]
struct UserEdge {
    cursor: String,
    node: User,
}
