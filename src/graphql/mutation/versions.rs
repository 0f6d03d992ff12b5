use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::{
    chat,
    graphql::{
        ApiError,
        context::{chat, request_context},
        ids,
        types::{Conversation, Message, Rating},
    },
};

#[derive(Default)]
pub struct VersionMutation;

#[Object]
impl VersionMutation {
    /// Starts another reply to the same message. The reply before stays: the new one is a version
    /// beside it, and the active path ends with it. While a reply of the conversation is PENDING
    /// or STREAMING: CONFLICT with the reason REPLY_IN_PROGRESS and that reply's `messageId`.
    /// LIMIT_EXCEEDED where the user has 100 unfinished replies.
    async fn regenerate_reply(
        &self,
        context: &Context<'_>,
        input: RegenerateReplyInput,
    ) -> Option<Result<RegenerateReplyPayload, ApiError>> {
        Some(regenerate(context, input).await)
    }

    /// Says a message of the user's in other words, and starts the reply to it. The message before
    /// stays with all that followed it: the new one is a version beside it, and the active path
    /// ends with its reply. While a reply of the conversation is PENDING or STREAMING: CONFLICT
    /// with the reason REPLY_IN_PROGRESS and that reply's `messageId`. LIMIT_EXCEEDED where the user
    /// has 100 unfinished replies.
    async fn edit_message(
        &self,
        context: &Context<'_>,
        input: EditMessageInput,
    ) -> Option<Result<EditMessagePayload, ApiError>> {
        Some(edit(context, input).await)
    }

    /// Makes a message, and all that lead to it, active, and brings back what was last active after
    /// it. While a reply of the conversation is PENDING or STREAMING: CONFLICT with the reason
    /// REPLY_IN_PROGRESS and that reply's `messageId`.
    async fn select_version(
        &self,
        context: &Context<'_>,
        input: SelectVersionInput,
    ) -> Option<Result<SelectVersionPayload, ApiError>> {
        Some(select(context, input).await)
    }

    /// Notes what the user thinks of a message of the assistant, in place of what they thought
    /// before.
    async fn rate_message(
        &self,
        context: &Context<'_>,
        input: RateMessageInput,
    ) -> Option<Result<RateMessagePayload, ApiError>> {
        Some(rate(context, input).await)
    }
}

async fn regenerate(
    context: &Context<'_>,
    input: RegenerateReplyInput,
) -> Result<RegenerateReplyPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let regenerated = chat(context)
        .regenerate_reply(
            viewer,
            chat::RegenerateReply {
                message_id: ids::decode("messageId", &input.message_id)?,
                model: input.model,
                idempotency_key: input.idempotency_key,
            },
        )
        .await?;
    Ok(RegenerateReplyPayload {
        conversation: Conversation(regenerated.conversation),
        reply: Message(regenerated.reply),
    })
}

async fn edit(
    context: &Context<'_>,
    input: EditMessageInput,
) -> Result<EditMessagePayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let edited = chat(context)
        .edit_message(
            viewer,
            chat::EditMessage {
                message_id: ids::decode("messageId", &input.message_id)?,
                content: input.content,
                idempotency_key: input.idempotency_key,
            },
        )
        .await?;
    Ok(EditMessagePayload {
        conversation: Conversation(edited.conversation),
        user_message: Message(edited.user_message),
        reply: Message(edited.reply),
    })
}

async fn select(
    context: &Context<'_>,
    input: SelectVersionInput,
) -> Result<SelectVersionPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let id = ids::decode("messageId", &input.message_id)?;
    let conversation = chat(context).select_version(viewer, id).await?;
    Ok(SelectVersionPayload {
        conversation: Conversation(conversation),
    })
}

async fn rate(
    context: &Context<'_>,
    input: RateMessageInput,
) -> Result<RateMessagePayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let message = chat(context)
        .rate_message(
            viewer,
            chat::RateMessage {
                message_id: ids::decode("messageId", &input.message_id)?,
                rating: input.rating.map(Into::into),
                comment: input.comment,
            },
        )
        .await?;
    Ok(RateMessagePayload {
        message: Message(message),
    })
}

#[derive(InputObject)]
struct RegenerateReplyInput {
    /// A reply. A greeting is none.
    message_id: ID,
    /// One of `models`, for this reply alone; absent: the conversation's. At most 255 characters.
    model: Option<String>,
    /// 1 to 255 characters. The same key with the same input gives the same answer and starts
    /// nothing more, however often it is sent and also in mid-reply; with other input: CONFLICT.
    idempotency_key: Option<String>,
}

#[derive(SimpleObject)]
struct RegenerateReplyPayload {
    /// With the active path as it is now.
    conversation: Conversation,
    /// The new reply: subscribe to its `messageStream`.
    reply: Message,
}

#[derive(InputObject)]
struct EditMessageInput {
    /// A message of the user's.
    message_id: ID,
    /// 1 to 100,000 characters.
    content: String,
    /// 1 to 255 characters. The same key with the same input gives the same answer and starts
    /// nothing more, however often it is sent and also in mid-reply; with other input: CONFLICT.
    idempotency_key: Option<String>,
}

#[derive(SimpleObject)]
struct EditMessagePayload {
    /// With the active path as it is now.
    conversation: Conversation,
    /// The new version.
    user_message: Message,
    /// The reply to it: subscribe to its `messageStream`.
    reply: Message,
}

#[derive(InputObject)]
struct SelectVersionInput {
    /// Any message, usually one of another's `versions`.
    message_id: ID,
}

#[derive(SimpleObject)]
struct SelectVersionPayload {
    /// With the active path as it is now.
    conversation: Conversation,
}

#[derive(InputObject)]
struct RateMessageInput {
    /// A message of the assistant.
    message_id: ID,
    /// Null or absent: the feedback is taken back.
    rating: Option<Rating>,
    /// At most 2,000 characters; only together with a rating.
    comment: Option<String>,
}

#[derive(SimpleObject)]
struct RateMessagePayload {
    message: Message,
}
