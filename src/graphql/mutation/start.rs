use async_graphql::{Context, InputObject, Object, SimpleObject};

use crate::{
    chat,
    graphql::{
        ApiError,
        context::{chat, request_context},
        cursor::ConversationList,
        types::{Conversation, ConversationEdge, Message},
    },
};

#[derive(Default)]
pub struct StartMutation;

#[Object]
impl StartMutation {
    /// Starts a conversation and, with a `message`, the reply to it: LIMIT_EXCEEDED where the user has
    /// 100 unfinished replies.
    async fn start_chat(
        &self,
        context: &Context<'_>,
        input: StartChatInput,
    ) -> Option<Result<StartChatPayload, ApiError>> {
        Some(start(context, input).await)
    }
}

async fn start(context: &Context<'_>, input: StartChatInput) -> Result<StartChatPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let started = chat(context).start_chat(viewer, input.into()).await?;
    Ok(StartChatPayload {
        conversation_edge: ConversationEdge::new(
            &ConversationList::default(),
            started.conversation.clone(),
        ),
        conversation: Conversation(started.conversation),
        greeting: started.greeting.map(Message),
        user_message: started.user_message.map(Message),
        reply: started.reply.map(Message),
    })
}

/// What a conversation begins with.
#[derive(InputObject)]
struct StartChatInput {
    /// At most 255 characters; without one, the model may title the conversation.
    title: Option<String>,
    /// Instructions to the assistant, after the server's own. At most 32,000 characters.
    system_prompt: Option<String>,
    /// One of `models`; absent: the default. At most 255 characters.
    model: Option<String>,
    /// The user's first message, 1 to 100,000 characters; absent: none yet.
    message: Option<String>,
    /// 1 to 255 characters. The same key with the same input gives the same answer and starts
    /// nothing more, however often it is sent; with other input: CONFLICT.
    idempotency_key: Option<String>,
}

impl From<StartChatInput> for chat::StartChat {
    fn from(input: StartChatInput) -> Self {
        Self {
            title: input.title,
            system_prompt: input.system_prompt,
            model: input.model,
            message: input.message,
            idempotency_key: input.idempotency_key,
        }
    }
}

#[derive(SimpleObject)]
struct StartChatPayload {
    conversation: Conversation,
    /// For lists in the default order, without a filter.
    conversation_edge: ConversationEdge,
    /// The configured first message of the assistant, if there is one.
    greeting: Option<Message>,
    /// The message that came with the call.
    user_message: Option<Message>,
    /// The reply to it: subscribe to its `messageStream`.
    reply: Option<Message>,
}
