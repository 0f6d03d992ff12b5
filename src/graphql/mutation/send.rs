use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use crate::{
    chat,
    graphql::{
        ApiError,
        context::{chat, request_context},
        ids,
        types::{Conversation, Message, MessageEdge},
    },
};

#[derive(Default)]
pub struct SendMutation;

#[Object]
impl SendMutation {
    /// Stores a message and starts the reply to it. The reply goes on whatever becomes of the
    /// client that asked for it.
    /// LIMIT_EXCEEDED where the user has 100 unfinished replies.
    async fn send_message(
        &self,
        context: &Context<'_>,
        input: SendMessageInput,
    ) -> Option<Result<SendMessagePayload, ApiError>> {
        Some(send(context, input).await)
    }
}

async fn send(
    context: &Context<'_>,
    input: SendMessageInput,
) -> Result<SendMessagePayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let sent = chat(context)
        .send_message(
            viewer,
            chat::SendMessage {
                conversation_id: ids::decode("conversationId", &input.conversation_id)?,
                content: input.content,
                model: input.model,
                idempotency_key: input.idempotency_key,
                when_busy: input.when_busy.into(),
            },
        )
        .await?;
    Ok(SendMessagePayload {
        conversation: Conversation(sent.conversation),
        user_message_edge: MessageEdge::new(sent.user_message.clone()),
        user_message: Message(sent.user_message),
        reply_edge: MessageEdge::new(sent.reply.clone()),
        reply: Message(sent.reply),
    })
}

/// What `sendMessage` does while a reply is PENDING or STREAMING in the conversation.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "chat::BusyPolicy")]
enum BusyPolicy {
    /// Refuses: CONFLICT with the reason REPLY_IN_PROGRESS and the `messageId` of the oldest such
    /// reply. Nothing is stored.
    Reject,
    /// Stores the message at the end of the conversation. Its reply stays PENDING until those before
    /// it have ended, however they end.
    Enqueue,
    /// Stops the reply that is being written, keeping its text, and those that are PENDING, and
    /// sends the message then.
    Stop,
}

#[derive(InputObject)]
struct SendMessageInput {
    conversation_id: ID,
    /// 1 to 100,000 characters.
    content: String,
    /// One of `models`, for this reply alone; absent: the conversation's. At most 255 characters.
    model: Option<String>,
    /// 1 to 255 characters. The same key with the same input gives the same answer and sends
    /// nothing more, however often it is sent and also in mid-reply; with other input: CONFLICT.
    /// `whenBusy` is part of the input.
    idempotency_key: Option<String>,
    #[graphql(default_with = "BusyPolicy::Reject")]
    when_busy: BusyPolicy,
}

#[derive(SimpleObject)]
struct SendMessagePayload {
    conversation: Conversation,
    user_message: Message,
    /// For lists of the conversation's messages.
    user_message_edge: MessageEdge,
    /// The reply: subscribe to its `messageStream`.
    reply: Message,
    /// For lists of the conversation's messages.
    reply_edge: MessageEdge,
}
