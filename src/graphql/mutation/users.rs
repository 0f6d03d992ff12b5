use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::{
    graphql::{
        ApiError,
        context::{accounts, request_context},
        ids::{self, AdminUserId},
        types::User,
    },
    model::UserId,
};

#[derive(Default)]
pub struct ViewerMutation;

#[Object]
impl ViewerMutation {
    /// Deletes the viewer with everything that is theirs, irrevocably. Tokens that were issued
    /// before are refused from then on; whoever signs in with a later one is a new user. Needs a
    /// token: an API key cannot delete its user. Ask over HTTP: the user's sockets close within
    /// 5 seconds, and with much to delete before they bring the answer.
    async fn delete_viewer(
        &self,
        context: &Context<'_>,
        input: DeleteViewerInput,
    ) -> Option<Result<DeleteViewerPayload, ApiError>> {
        Some(delete_viewer(context, input).await)
    }
}

async fn delete_viewer(
    context: &Context<'_>,
    input: DeleteViewerInput,
) -> Result<DeleteViewerPayload, ApiError> {
    let session = &request_context(context)?.session;
    accounts(context)
        .delete_viewer(session, &input.confirm_external_id)
        .await?;
    Ok(DeleteViewerPayload {
        deleted_viewer_id: ids::encode(session.viewer.user_id()),
    })
}

#[derive(Default)]
pub struct AdminMutation;

#[Object]
impl AdminMutation {
    /// Shuts a user out: whatever they ask is FORBIDDEN, and their sockets close within 5 seconds. A
    /// reply that is being written to them is finished. Nothing happens to one who is suspended
    /// already. For admins.
    async fn suspend_user(
        &self,
        context: &Context<'_>,
        input: SuspendUserInput,
    ) -> Option<Result<SuspendUserPayload, ApiError>> {
        let user = set_suspended(context, &input.user_id, true).await;
        Some(user.map(|user| SuspendUserPayload { user }))
    }

    /// Lets a suspended user in again. Nothing happens to one who is not suspended. For admins.
    async fn restore_user(
        &self,
        context: &Context<'_>,
        input: RestoreUserInput,
    ) -> Option<Result<RestoreUserPayload, ApiError>> {
        let user = set_suspended(context, &input.user_id, false).await;
        Some(user.map(|user| RestoreUserPayload { user }))
    }

    /// Deletes a user with everything that is theirs, irrevocably. Who signs in later with a token
    /// that was issued later is a new user: suspend those who are to stay away. For admins.
    async fn delete_user(
        &self,
        context: &Context<'_>,
        input: DeleteUserInput,
    ) -> Option<Result<DeleteUserPayload, ApiError>> {
        Some(delete_user(context, input).await)
    }
}

async fn set_suspended(
    context: &Context<'_>,
    user_id: &ID,
    suspended: bool,
) -> Result<User, ApiError> {
    let session = &request_context(context)?.session;
    let user = accounts(context)
        .set_suspended(session, decode(user_id)?, suspended)
        .await?;
    Ok(User(user))
}

async fn delete_user(
    context: &Context<'_>,
    input: DeleteUserInput,
) -> Result<DeleteUserPayload, ApiError> {
    let session = &request_context(context)?.session;
    accounts(context)
        .delete_user(session, decode(&input.user_id)?)
        .await?;
    Ok(DeleteUserPayload {
        deleted_user_id: input.user_id,
    })
}

fn decode(user_id: &ID) -> Result<UserId, ApiError> {
    ids::decode::<AdminUserId>("userId", user_id).map(UserId::from)
}

#[derive(InputObject)]
struct DeleteViewerInput {
    /// The viewer's externalId, letter by letter, so that nobody is deleted by mistake. At most 255
    /// characters.
    confirm_external_id: String,
}

#[derive(SimpleObject)]
struct DeleteViewerPayload {
    deleted_viewer_id: ID,
}

#[derive(InputObject)]
struct SuspendUserInput {
    user_id: ID,
}

#[derive(SimpleObject)]
struct SuspendUserPayload {
    user: User,
}

#[derive(InputObject)]
struct RestoreUserInput {
    user_id: ID,
}

#[derive(SimpleObject)]
struct RestoreUserPayload {
    user: User,
}

#[derive(InputObject)]
struct DeleteUserInput {
    user_id: ID,
}

#[derive(SimpleObject)]
struct DeleteUserPayload {
    deleted_user_id: ID,
}
