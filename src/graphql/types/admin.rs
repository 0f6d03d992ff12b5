use async_graphql::{Context, ID, Object};

use super::{
    AuditEventConnection, User, UserConnection,
    usage::{Usage, time_range},
};
use crate::{
    db::UserSearch,
    graphql::{
        ApiError,
        context::{accounts, request_context},
        cursor::{AuditList, PageArguments, UserList},
        ids::{self, AdminUserId},
        scalars::DateTime,
    },
    model::UserId,
};

pub struct Admin;

/// What admins see of the server and its users: never what somebody wrote.
#[Object]
impl Admin {
    /// Always the same, for caches.
    async fn id(&self) -> ID {
        ID("admin".to_owned())
    }

    /// The users, those first seen last at the start. Without `first` the first 20; at most 100.
    async fn users(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows from the start, 0 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(
            desc = "Only users whose externalId, email or displayName holds this text, in capitals or not, and whoever has it as their id, of a User or of a Viewer. At most 255 characters."
        )]
        query: Option<String>,
    ) -> Result<UserConnection, ApiError> {
        let viewer = request_context(context)?.viewer();
        let list = UserList { query };
        let request = PageArguments {
            first,
            after,
            ..Default::default()
        }
        .request(&list)?;
        let search = list.query.clone().map(|text| UserSearch {
            id: ids::decode_user(&text),
            text,
        });
        let page = accounts(context)
            .user_page(viewer, search.as_ref(), request)
            .await?;
        Ok(UserConnection { list, page })
    }

    /// One user; null if there is no such one.
    async fn user(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The id of a User.")] id: ID,
    ) -> Option<Result<User, ApiError>> {
        find_user(context, &id).await.transpose()
    }

    /// What anybody has done, newest first: users about their accounts, admins about users, and
    /// strangers with credentials that were refused. Without `first` the first 20; at most 100.
    async fn audit_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows from the start, 0 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "The id of a User: only what they have done and what was done to them.")]
        user_id: Option<ID>,
    ) -> Result<AuditEventConnection, ApiError> {
        let viewer = request_context(context)?.viewer();
        let about = user_id
            .map(|id| ids::decode::<AdminUserId>("userId", &id))
            .transpose()?
            .map(UserId::from);
        let list = AuditList::All { about };
        let request = PageArguments {
            first,
            after,
            ..Default::default()
        }
        .request(&list)?;
        let page = accounts(context).audit_page(viewer, about, request).await?;
        Ok(AuditEventConnection { list, page })
    }

    /// What the replies to all users together have cost, but for users who were deleted.
    async fn usage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only what ended then or later.")] since: Option<DateTime>,
        #[graphql(desc = "Only what ended before.")] until: Option<DateTime>,
    ) -> Result<Usage, ApiError> {
        let viewer = request_context(context)?.viewer();
        let range = time_range(since, until);
        Ok(accounts(context).total_usage(viewer, range).await?.into())
    }
}

async fn find_user(context: &Context<'_>, id: &ID) -> Result<Option<User>, ApiError> {
    let id: AdminUserId = ids::decode("id", id)?;
    let found = request_context(context)?
        .users()
        .load_one(id.into())
        .await?;
    Ok(found.map(User))
}
