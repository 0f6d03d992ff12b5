use async_graphql::{Context, Enum, ID, InputObject, Object};

use super::{
    ApiKeyConnection, AuditEventConnection, Conversation, ConversationConnection,
    usage::{Usage, time_range},
};
use crate::{
    graphql::{
        ApiError,
        context::{accounts, chat, request_context},
        cursor::{ApiKeyList, AuditList, ConversationList, PageArguments},
        ids,
        scalars::DateTime,
    },
    model::{self, TimeRange},
};

pub struct Viewer;

/// The signed-in user, and the way to everything that is theirs.
#[Object]
impl Viewer {
    /// Opaque and globally unique.
    pub async fn id(&self, context: &Context<'_>) -> Result<ID, ApiError> {
        Ok(ids::encode(request_context(context)?.viewer().user_id()))
    }

    /// The name of the configured issuer that vouched for the user.
    async fn issuer(&self, context: &Context<'_>) -> Result<String, ApiError> {
        Ok(user(context).await?.issuer)
    }

    /// The issuer's own id of the user: any text, not always a UUID. At most 255 characters.
    async fn external_id(&self, context: &Context<'_>) -> Result<String, ApiError> {
        Ok(user(context).await?.external_id)
    }

    /// As the issuer's tokens last said, at most 320 characters.
    async fn email(&self, context: &Context<'_>) -> Option<Result<String, ApiError>> {
        user(context).await.map(|user| user.email).transpose()
    }

    /// As the issuer's tokens last said, at most 255 characters.
    async fn display_name(&self, context: &Context<'_>) -> Option<Result<String, ApiError>> {
        user(context)
            .await
            .map(|user| user.display_name)
            .transpose()
    }

    /// When this server first saw the user.
    async fn created_at(&self, context: &Context<'_>) -> Result<DateTime, ApiError> {
        Ok(DateTime(user(context).await?.created_at))
    }

    /// When the user was last seen, to the minute.
    async fn last_active_at(&self, context: &Context<'_>) -> Result<DateTime, ApiError> {
        Ok(DateTime(user(context).await?.last_active_at))
    }

    /// The user's conversations, those with the newest message first unless `orderBy` says
    /// otherwise. Without `first` and `last` the first 20; at most 100.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn conversations(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows from the start, 0 to 100. Not together with `last`.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many rows from the end, 0 to 100. Not together with `first`.")]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only conversations that fit.")] filter: Option<ConversationFilter>,
        #[graphql(desc = "Default: LAST_ACTIVE_AT, DESC. Equal times are ordered by id.")]
        order_by: Option<ConversationOrder>,
    ) -> Result<ConversationConnection, ApiError> {
        let viewer = request_context(context)?.viewer();
        let list = ConversationList {
            filter: filter.map(Into::into).unwrap_or_default(),
            order: order_by.map(Into::into).unwrap_or_default(),
        };
        let request = PageArguments {
            first,
            after,
            last,
            before,
        }
        .request(&list)?;
        let page = chat(context)
            .conversation_page(viewer, &list.filter, list.order, request)
            .await?;
        Ok(ConversationConnection { list, page })
    }

    /// One of the user's conversations; null if there is no such one.
    async fn conversation(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The id of a Conversation.")] id: ID,
    ) -> Option<Result<Conversation, ApiError>> {
        find_conversation(context, &id).await.transpose()
    }

    /// The user's API keys, the newest first, revoked and expired ones too. Without `first` the
    /// first 20; at most 100.
    async fn api_keys(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows, 0 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
    ) -> Option<Result<ApiKeyConnection, ApiError>> {
        Some(find_api_keys(context, first, after).await)
    }

    /// What the replies to the user, and the titles of their conversations, have cost.
    async fn usage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only what ended then or later.")] since: Option<DateTime>,
        #[graphql(desc = "Only what ended before.")] until: Option<DateTime>,
    ) -> Option<Result<Usage, ApiError>> {
        Some(own_usage(context, time_range(since, until)).await)
    }

    /// What the user has done about their account, with which credential and from where, newest
    /// first. Without `first` the first 20; at most 100.
    async fn audit_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows, 0 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
    ) -> Option<Result<AuditEventConnection, ApiError>> {
        Some(find_audit_events(context, first, after).await)
    }
}

async fn find_api_keys(
    context: &Context<'_>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<ApiKeyConnection, ApiError> {
    let viewer = request_context(context)?.viewer();
    let request = PageArguments {
        first,
        after,
        ..Default::default()
    }
    .request(&ApiKeyList)?;
    let page = accounts(context).api_key_page(viewer, request).await?;
    Ok(ApiKeyConnection { page })
}

async fn find_audit_events(
    context: &Context<'_>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<AuditEventConnection, ApiError> {
    let viewer = request_context(context)?.viewer();
    let list = AuditList::Own;
    let request = PageArguments {
        first,
        after,
        ..Default::default()
    }
    .request(&list)?;
    let page = accounts(context).audit().page(viewer, request).await?;
    Ok(AuditEventConnection { list, page })
}

async fn find_conversation(
    context: &Context<'_>,
    id: &ID,
) -> Result<Option<Conversation>, ApiError> {
    let id = ids::decode("id", id)?;
    let found = request_context(context)?
        .conversations()
        .load_one(id)
        .await?;
    Ok(found.map(Conversation))
}

async fn own_usage(context: &Context<'_>, range: TimeRange) -> Result<Usage, ApiError> {
    let viewer = request_context(context)?.viewer();
    Ok(accounts(context).usage(viewer, range).await?.into())
}

async fn user(context: &Context<'_>) -> Result<crate::db::User, ApiError> {
    request_context(context)?.user().await
}

/// Which conversations a list holds. An absent member is no constraint.
#[derive(InputObject)]
struct ConversationFilter {
    /// Only archived ones, or only those that are not.
    archived: Option<bool>,
    /// Only pinned ones, or only those that are not.
    pinned: Option<bool>,
    /// Only those whose title holds this text, in capitals or not. At most 255 characters.
    title_contains: Option<String>,
}

impl From<ConversationFilter> for model::ConversationFilter {
    fn from(filter: ConversationFilter) -> Self {
        Self {
            archived: filter.archived,
            pinned: filter.pinned,
            title_contains: filter.title_contains,
        }
    }
}

/// What a list of conversations is ordered by. Equal times are ordered by id.
#[derive(InputObject)]
struct ConversationOrder {
    field: ConversationOrderField,
    direction: OrderDirection,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum ConversationOrderField {
    /// The time of the last message.
    LastActiveAt,
    /// The time at which the conversation was started.
    CreatedAt,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum OrderDirection {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

impl From<ConversationOrder> for model::ConversationOrder {
    fn from(order: ConversationOrder) -> Self {
        Self {
            field: match order.field {
                ConversationOrderField::LastActiveAt => model::ConversationOrderField::LastActiveAt,
                ConversationOrderField::CreatedAt => model::ConversationOrderField::CreatedAt,
            },
            direction: match order.direction {
                OrderDirection::Asc => model::Direction::Ascending,
                OrderDirection::Desc => model::Direction::Descending,
            },
        }
    }
}
