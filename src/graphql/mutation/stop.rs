use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::{
    ApiError,
    context::{chat, request_context},
    ids,
    types::Message,
};

#[derive(Default)]
pub struct StopMutation;

#[Object]
impl StopMutation {
    /// Stops a reply, whichever server writes it: it is STOPPED within about a second and keeps the
    /// text that it has by then. A PENDING reply never begins and has no text. One that is finished
    /// is returned as it is, so stopping twice, or a moment too late, is no error; so is a greeting.
    async fn stop_reply(
        &self,
        context: &Context<'_>,
        input: StopReplyInput,
    ) -> Option<Result<StopReplyPayload, ApiError>> {
        Some(stop(context, input).await)
    }
}

async fn stop(context: &Context<'_>, input: StopReplyInput) -> Result<StopReplyPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let id = ids::decode("messageId", &input.message_id)?;
    let reply = chat(context).stop_reply(viewer, id).await?;
    Ok(StopReplyPayload {
        reply: Message(reply),
    })
}

#[derive(InputObject)]
struct StopReplyInput {
    /// An ASSISTANT message: a USER message is BAD_USER_INPUT.
    message_id: ID,
}

#[derive(SimpleObject)]
struct StopReplyPayload {
    /// As it is once it has ended.
    reply: Message,
}
