use std::sync::Arc;

use async_graphql::{Context, ID, SimpleObject, Subscription as GraphqlSubscription, Union};
use futures_util::{Stream, StreamExt};

use super::{
    ApiError,
    context::{chat, request_context},
    ids,
    types::Message,
};
use crate::{chat::FollowEvent, model::MessageId};

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
    ) -> Result<impl Stream<Item = Result<MessageStreamEvent, ApiError>>, ApiError> {
        let viewer = request_context(context)?.viewer();
        let id: MessageId = ids::decode("messageId", &message_id)?;
        let budget = Arc::clone(&request_context(context)?.budget);
        let events = chat(context).follow(viewer, id).await?;
        Ok(events.map(move |event| {
            budget.renew();
            Ok(match event? {
                FollowEvent::Changed(message) => MessageStreamEvent::Changed(MessageChanged {
                    message: Message(message),
                }),
                FollowEvent::Delta { offset, text } => MessageStreamEvent::Delta(MessageDelta {
                    message_id: message_id.clone(),
                    offset: i32::try_from(offset).unwrap_or(i32::MAX),
                    text,
                }),
                FollowEvent::Finished(message) => MessageStreamEvent::Finished(MessageFinished {
                    message: Message(message),
                }),
            })
        }))
    }
}

/// What happens to one message. More members may come: ignore those that you do not know.
#[derive(Union)]
enum MessageStreamEvent {
    Changed(MessageChanged),
    Delta(MessageDelta),
    Finished(MessageFinished),
}

/// New text. The rule for every client, with a text that belongs to this subscription and starts
/// empty: `content = content.slice(0, offset) + text`. A reply that is begun anew sends offset 0
/// again.
#[derive(SimpleObject)]
struct MessageDelta {
    message_id: ID,
    /// Where `text` goes in the message's content, in UTF-16 code units (a JavaScript string
    /// index). No delta splits a code point.
    offset: i32,
    text: String,
}

/// The message has ended. Its content is the truth, whatever the deltas said.
#[derive(SimpleObject)]
struct MessageFinished {
    message: Message,
}

/// The message's status has changed.
#[derive(SimpleObject)]
struct MessageChanged {
    message: Message,
}
