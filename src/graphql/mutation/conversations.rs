use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::{
    db::ConversationChanges,
    graphql::{
        ApiError,
        context::{chat, request_context},
        ids,
        types::Conversation,
    },
};

#[derive(Default)]
pub struct ConversationMutation;

#[Object]
impl ConversationMutation {
    /// Changes what is given and leaves the rest.
    async fn update_conversation(
        &self,
        context: &Context<'_>,
        input: UpdateConversationInput,
    ) -> Option<Result<UpdateConversationPayload, ApiError>> {
        Some(update(context, input).await)
    }

    /// Deletes every message of a conversation, stopping a reply first, and keeps the
    /// conversation itself. The configured greeting is said anew.
    async fn reset_conversation(
        &self,
        context: &Context<'_>,
        input: ResetConversationInput,
    ) -> Option<Result<ResetConversationPayload, ApiError>> {
        Some(reset(context, input).await)
    }

    /// Deletes a conversation and all that is in it, stopping a reply first.
    async fn delete_conversation(
        &self,
        context: &Context<'_>,
        input: DeleteConversationInput,
    ) -> Option<Result<DeleteConversationPayload, ApiError>> {
        Some(delete(context, input).await)
    }
}

async fn update(
    context: &Context<'_>,
    input: UpdateConversationInput,
) -> Result<UpdateConversationPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let id = ids::decode("conversationId", &input.conversation_id)?;
    let changes = ConversationChanges {
        title: input.title.into(),
        system_prompt: input.system_prompt.into(),
        model: not_null("model", input.model)?,
        archived: not_null("archived", input.archived)?,
        pinned: not_null("pinned", input.pinned)?,
    };
    let conversation = chat(context)
        .update_conversation(viewer, id, changes)
        .await?;
    Ok(UpdateConversationPayload {
        conversation: Conversation(conversation),
    })
}

fn not_null<T>(argument: &'static str, value: MaybeUndefined<T>) -> Result<Option<T>, ApiError> {
    match value {
        MaybeUndefined::Undefined => Ok(None),
        MaybeUndefined::Null => Err(ApiError::bad_input(
            argument,
            "cannot be cleared; leave it out to keep it as it is",
        )),
        MaybeUndefined::Value(value) => Ok(Some(value)),
    }
}

async fn reset(
    context: &Context<'_>,
    input: ResetConversationInput,
) -> Result<ResetConversationPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let id = ids::decode("conversationId", &input.conversation_id)?;
    let conversation = chat(context).reset_conversation(viewer, id).await?;
    Ok(ResetConversationPayload {
        conversation: Conversation(conversation),
    })
}

async fn delete(
    context: &Context<'_>,
    input: DeleteConversationInput,
) -> Result<DeleteConversationPayload, ApiError> {
    let viewer = request_context(context)?.viewer();
    let id = ids::decode("conversationId", &input.conversation_id)?;
    chat(context).delete_conversation(viewer, id).await?;
    Ok(DeleteConversationPayload {
        deleted_conversation_id: input.conversation_id,
    })
}

/// Absent: unchanged. Null: cleared, where the field may be null.
#[derive(InputObject)]
struct UpdateConversationInput {
    conversation_id: ID,
    /// At most 255 characters. Set or cleared, it is the user's: no model titles the conversation.
    title: MaybeUndefined<String>,
    /// At most 32,000 characters.
    system_prompt: MaybeUndefined<String>,
    /// One of `models`, at most 255 characters. Not null.
    model: MaybeUndefined<String>,
    /// Not null.
    archived: MaybeUndefined<bool>,
    /// Not null.
    pinned: MaybeUndefined<bool>,
}

#[derive(SimpleObject)]
struct UpdateConversationPayload {
    conversation: Conversation,
}

#[derive(InputObject)]
struct ResetConversationInput {
    conversation_id: ID,
}

#[derive(SimpleObject)]
struct ResetConversationPayload {
    conversation: Conversation,
}

#[derive(InputObject)]
struct DeleteConversationInput {
    conversation_id: ID,
}

#[derive(SimpleObject)]
struct DeleteConversationPayload {
    deleted_conversation_id: ID,
}
