use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::Conversation;
use crate::{
    graphql::{
        ApiError, List,
        context::request_context,
        cursor::{self, MessageList, PageInfo},
        ids,
        scalars::DateTime,
    },
    model::{self, MessageId, Page},
};

pub struct Message(pub model::Message);

/// What one side said: a user, or the assistant.
#[Object]
impl Message {
    /// Opaque and globally unique.
    pub async fn id(&self) -> ID {
        ids::encode(self.0.id)
    }

    /// The conversation that it belongs to.
    async fn conversation(&self, context: &Context<'_>) -> Result<Conversation, ApiError> {
        request_context(context)?
            .conversations()
            .load_one(self.0.conversation_id)
            .await?
            .map(Conversation)
            .ok_or_else(|| ApiError::not_found("conversation"))
    }

    /// The message that it follows; null for the first.
    async fn parent(&self, context: &Context<'_>) -> Option<Result<Message, ApiError>> {
        let parent = self.0.parent_id?;
        find(context, parent).await.transpose()
    }

    /// The alternatives at this place, itself included, oldest first: what `editMessage` and
    /// `regenerateReply` have made of the first. At most 50: where there are more, the newest 50,
    /// or for an older one the 50 that begin with it. `selectVersion` goes back to one of them.
    async fn versions(&self, context: &Context<'_>) -> Result<List<Message>, ApiError> {
        let request = request_context(context)?;
        let key = (self.0.fork(), self.0.version_number);
        let versions = request.versions().load_one(key).await?;
        // Deleted since it was read, it is still its own alternative.
        let versions = versions.unwrap_or_else(|| [self.0.clone()].into());
        request.budget.hold(&versions)?;
        Ok(versions.iter().cloned().map(Message).collect())
    }

    /// Its number among its versions, from 1. It never changes.
    async fn version_number(&self) -> i32 {
        self.0.version_number
    }

    /// How many versions there are, however many `versions` shows.
    async fn version_count(&self, context: &Context<'_>) -> Result<i32, ApiError> {
        let counts = request_context(context)?.version_counts();
        let count = counts.load_one(self.0.fork()).await?;
        Ok(count.unwrap_or(self.0.version_number))
    }

    /// Whether it is on the active path, which is what `Conversation.messages` lists.
    async fn active(&self) -> bool {
        self.0.active
    }

    async fn role(&self) -> MessageRole {
        self.0.role.into()
    }

    /// The text, as its author wrote it: a user's at most 100,000 characters, the assistant's, in
    /// Markdown, at most 1 MiB. While STREAMING: the text so far.
    async fn content(&self, context: &Context<'_>) -> Result<&str, ApiError> {
        request_context(context)?.budget.spend(&self.0.content)
    }

    async fn status(&self) -> MessageStatus {
        self.0.status.into()
    }

    /// Why it FAILED; null otherwise.
    async fn error(&self) -> Option<ReplyError> {
        self.0.error.as_ref().map(|error| ReplyError {
            code: error.code.into(),
            message: error.message.clone(),
            retryable: error.code.is_retryable(),
        })
    }

    /// Whether a limit on a reply's length ended it, the provider's or the server's own.
    async fn truncated(&self) -> bool {
        self.0.truncated
    }

    /// The model that wrote it, at most 255 characters; null for a user's message and a greeting.
    async fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// What it cost, as the provider counts; where it does not say, as the server does. Null before the
    /// end, for a message that no model wrote, and for a reply that has no text and no count.
    async fn usage(&self) -> Option<TokenUsage> {
        self.0.usage.map(Into::into)
    }

    /// What its user said of it with `rateMessage`; null where they did not.
    async fn feedback(&self) -> Option<Feedback> {
        self.0.feedback.as_ref().map(|feedback| Feedback {
            rating: feedback.rating.into(),
            comment: feedback.comment.clone(),
        })
    }

    /// The key that it was sent with, at most 255 characters: tells an optimistic message from
    /// its stored self.
    async fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    /// When it was stored.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it was complete, stopped or failed; null until then.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.completed_at.map(DateTime)
    }
}

async fn find(context: &Context<'_>, id: MessageId) -> Result<Option<Message>, ApiError> {
    let found = request_context(context)?.messages().load_one(id).await?;
    Ok(found.map(Message))
}

/// Who wrote a message.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::MessageRole")]
pub enum MessageRole {
    User,
    Assistant,
}

/// How far a message is. A user's message is COMPLETED from the start.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::MessageStatus")]
pub enum MessageStatus {
    /// Waiting for its turn: for those before it in its conversation, and for room among the user's
    /// and everybody's.
    Pending,
    /// Being written. Where the server that wrote it is lost, it is begun anew: its text may go back.
    Streaming,
    /// Whole.
    Completed,
    /// Ended by its user, the text so far kept.
    Stopped,
    /// Ended by a fault, which `error` names, the text so far kept.
    Failed,
}

/// Why a reply failed.
#[derive(SimpleObject)]
pub struct ReplyError {
    code: ReplyErrorCode,
    /// A sentence for the user, in English.
    message: String,
    /// Whether the same message, sent again, may well succeed.
    retryable: bool,
}

/// Kinds of fault. More may come: treat an unknown one as INTERNAL.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::ReplyErrorCode")]
pub enum ReplyErrorCode {
    /// The provider could not be reached, failed, or broke off.
    ProviderUnavailable,
    /// The provider has had too many requests.
    ProviderRateLimited,
    /// The provider refused the request, for example for a wrong key or an unknown model.
    ProviderRejected,
    /// The provider took too long.
    ProviderTimeout,
    /// The message is longer than the model can read, though what was said before it was left out.
    ContextTooLong,
    /// The provider's content filter ended the reply.
    ContentFiltered,
    /// The server that wrote it was lost, and so were those that began it anew.
    Interrupted,
    /// The user has used up their tokens.
    QuotaExceeded,
    /// A fault of the server.
    Internal,
}

/// Tokens, as the provider counts them. Where it does not, the server does: exactly for OpenAI's models,
/// as an estimate for others, and without what the provider may have added to the prompt.
#[derive(SimpleObject)]
pub struct TokenUsage {
    prompt_tokens: i32,
    completion_tokens: i32,
    total_tokens: i32,
}

impl From<model::TokenUsage> for TokenUsage {
    fn from(usage: model::TokenUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
        }
    }
}

/// What a user thinks of a message of the assistant.
#[derive(SimpleObject)]
pub struct Feedback {
    rating: Rating,
    /// In the user's words, at most 2,000 characters.
    comment: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "model::Rating")]
pub enum Rating {
    Up,
    Down,
}

pub struct MessageConnection {
    pub list: MessageList,
    pub page: Page<model::Message>,
}

/// A page of messages.
#[Object]
impl MessageConnection {
    async fn edges(&self) -> List<MessageEdge> {
        self.page
            .items
            .iter()
            .cloned()
            .map(MessageEdge::new)
            .collect()
    }

    async fn nodes(&self) -> List<Message> {
        self.page.items.iter().cloned().map(Message).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, cursor_of)
    }

    /// How many messages the active path has. Counted only when asked for.
    async fn total_count(&self, context: &Context<'_>) -> Result<i32, ApiError> {
        let count = request_context(context)?
            .path_counts()
            .load_one(self.list.conversation_id)
            .await?
            .unwrap_or(0);
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// A message on the active path.
#[derive(SimpleObject)]
pub struct MessageEdge {
    /// Good for `after` and `before` in the same conversation. It is a position on the active path:
    /// when the path becomes another one, by an edit or the choice of a version, the cursors of
    /// the messages that stay on it are as good as before, and that of one that went stands for
    /// whatever is in its place now.
    cursor: String,
    node: Message,
}

impl MessageEdge {
    pub fn new(message: model::Message) -> Self {
        Self {
            cursor: cursor_of(&message),
            node: Message(message),
        }
    }
}

fn cursor_of(message: &model::Message) -> String {
    let list = MessageList {
        conversation_id: message.conversation_id,
    };
    cursor::encode(&list, message.position)
}
