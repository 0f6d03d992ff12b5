use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;

use crate::{
    accounts,
    graphql::{
        ApiError,
        context::{accounts, request_context},
        ids,
        scalars::DateTime,
        types::{ApiKey, ApiKeyEdge, ApiKeyScope},
    },
};

#[derive(Default)]
pub struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// Makes a key that a program can sign in with, in the user's name. Only for users who have
    /// signed in themselves; a user may have 100 keys that are not revoked.
    async fn create_api_key(
        &self,
        context: &Context<'_>,
        input: CreateApiKeyInput,
    ) -> Option<Result<CreateApiKeyPayload, ApiError>> {
        Some(create(context, input).await)
    }

    /// Refuses a key from now on, and closes what is open with it within seconds. One that is
    /// revoked already is returned unchanged.
    async fn revoke_api_key(
        &self,
        context: &Context<'_>,
        input: RevokeApiKeyInput,
    ) -> Option<Result<RevokeApiKeyPayload, ApiError>> {
        Some(revoke(context, input).await)
    }
}

async fn create(
    context: &Context<'_>,
    input: CreateApiKeyInput,
) -> Result<CreateApiKeyPayload, ApiError> {
    let session = &request_context(context)?.session;
    let asked = accounts::CreateApiKey {
        name: input.name,
        scopes: input.scopes.into_iter().map(Into::into).collect(),
        expires_at: input.expires_at.map(|DateTime(moment)| moment),
    };
    let created = accounts(context).create_api_key(session, asked).await?;
    Ok(CreateApiKeyPayload {
        api_key_edge: ApiKeyEdge::new(created.key.clone()),
        api_key: ApiKey(created.key),
        secret: created.secret.expose_secret().to_owned(),
    })
}

async fn revoke(
    context: &Context<'_>,
    input: RevokeApiKeyInput,
) -> Result<RevokeApiKeyPayload, ApiError> {
    let session = &request_context(context)?.session;
    let id = ids::decode("apiKeyId", &input.api_key_id)?;
    let revoked = accounts(context).revoke_api_key(session, id).await?;
    Ok(RevokeApiKeyPayload {
        api_key: ApiKey(revoked),
    })
}

#[derive(InputObject)]
struct CreateApiKeyInput {
    /// What to call it, 1 to 255 characters.
    name: String,
    /// At least one. ADMIN only by an admin.
    scopes: Vec<ApiKeyScope>,
    /// A moment in the future; absent: the key does not expire.
    expires_at: Option<DateTime>,
}

#[derive(SimpleObject)]
struct CreateApiKeyPayload {
    api_key: ApiKey,
    /// For `apiKeys`.
    api_key_edge: ApiKeyEdge,
    /// The key itself. It is shown this once: the server keeps no copy.
    secret: String,
}

#[derive(InputObject)]
struct RevokeApiKeyInput {
    api_key_id: ID,
}

#[derive(SimpleObject)]
struct RevokeApiKeyPayload {
    api_key: ApiKey,
}
