//! What is told as it happens. Each stream is one of the chat's, wrapped event by event.

mod conversation;
mod list;
mod message;
mod patient;

use std::sync::Arc;

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use futures_util::{Stream, StreamExt};

use self::{
    conversation::ConversationEvent, list::ViewerEvent, message::MessageStreamEvent,
    patient::Patient,
};
use super::{
    ApiError,
    context::{chat, request_context},
    ids,
};

pub struct Subscription;

/// Every subscription first brings its subscriber up to date, also after a cut, so that no client
/// needs code for a reconnect.
#[GraphqlSubscription]
impl Subscription {
    /// One assistant message as it is written. First MessageChanged, then the text so far as one
    /// MessageDelta at offset 0, then deltas, then MessageFinished, then the end. A message that
    /// is deleted meanwhile ends the stream with a NOT_FOUND error.
    async fn message_stream(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The id of a Message.")] message_id: ID,
    ) -> Result<impl Stream<Item = Result<Patient<MessageStreamEvent>, ApiError>>, ApiError> {
        let request = request_context(context)?;
        let id = ids::decode("messageId", &message_id)?;
        let events = chat(context).follow(request.viewer(), id).await?;
        let budget = Arc::clone(&request.budget);
        Ok(events.map(move |event| {
            budget.renew();
            Ok(Patient(MessageStreamEvent::of(id, event?)))
        }))
    }

    /// Everything in one conversation, whichever device or server caused it. First
    /// ConversationSnapshot, then the text so far of the reply that is being written, as one
    /// MessageDelta at offset 0, then what happens. A reply's MessageAdded comes before its deltas, its
    /// MessageFinished after them. Ends with ConversationDeleted.
    async fn conversation_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The id of a Conversation.")] conversation_id: ID,
    ) -> Result<impl Stream<Item = Result<Patient<ConversationEvent>, ApiError>>, ApiError> {
        let request = request_context(context)?;
        let id = ids::decode("conversationId", &conversation_id)?;
        let events = chat(context)
            .follow_conversation(request.viewer(), id)
            .await?;
        let budget = Arc::clone(&request.budget);
        Ok(events.map(move |event| {
            budget.renew();
            Ok(Patient(event?.into()))
        }))
    }

    /// The viewer's list of conversations, live. First ViewerSnapshot.
    async fn viewer_events(
        &self,
        context: &Context<'_>,
    ) -> Result<impl Stream<Item = Result<Patient<ViewerEvent>, ApiError>>, ApiError> {
        let request = request_context(context)?;
        let events = chat(context).follow_list(request.viewer());
        let budget = Arc::clone(&request.budget);
        Ok(events.map(move |event| {
            budget.renew();
            Ok(Patient(event?.into()))
        }))
    }
}
