use async_graphql::{Context, ID, MergedObject, Object};

use super::{
    ApiError, List,
    access::Guarded,
    context::{accounts, chat, request_context},
    types::{Admin, Model, Node, Viewer, load_nodes},
};
use crate::model::Right;

/// How many ids `nodes` takes.
const MOST_NODES: usize = 100;

// Each part is guarded as a whole, by what its fields have in common.
#[derive(MergedObject)]
pub struct Query(Guarded<OwnQuery>, Guarded<AdminQuery>);

impl Default for Query {
    fn default() -> Self {
        Self(
            Guarded::new(Right::Read, OwnQuery),
            Guarded::new(Right::Admin, AdminQuery),
        )
    }
}

/// What users ask about their own things.
struct OwnQuery;

#[Object]
impl OwnQuery {
    /// The signed-in user.
    async fn viewer(&self, context: &Context<'_>) -> Result<Viewer, ApiError> {
        request_context(context)?;
        Ok(Viewer)
    }

    /// The object with this id; null if there is none that the viewer may see.
    async fn node(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The id of anything that implements Node.")] id: ID,
    ) -> Option<Result<Node, ApiError>> {
        match load_nodes(context, "id", &[id]).await {
            Ok(mut nodes) => nodes.pop().and_then(Result::transpose),
            Err(error) => Some(Err(error)),
        }
    }

    /// The objects with these ids, in their order: null where there is none that the viewer may
    /// see, null and an error where an id is none of this server.
    async fn nodes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "At most 100 ids of anything that implements Node.")] ids: Vec<ID>,
    ) -> Result<List<Option<Result<Node, ApiError>>>, ApiError> {
        if ids.len() > MOST_NODES {
            return Err(ApiError::bad_input(
                "ids",
                &format!("may hold {MOST_NODES} ids at most, and holds {}", ids.len()),
            ));
        }
        let nodes = load_nodes(context, "ids", &ids).await?;
        Ok(nodes.into_iter().map(Result::transpose).collect())
    }

    /// The models that `startChat`, `updateConversation` and `sendMessage` may name, the default
    /// first.
    async fn models(&self, context: &Context<'_>) -> Result<List<Model>, ApiError> {
        request_context(context)?;
        let models = chat(context).models();
        Ok(models
            .list()
            .into_iter()
            .map(|name| Model {
                name: name.to_owned(),
                is_default: name == models.default_model(),
            })
            .collect())
    }
}

/// What admins ask about everybody.
struct AdminQuery;

#[Object]
impl AdminQuery {
    /// What admins see; FORBIDDEN for everybody else.
    async fn admin(&self, context: &Context<'_>) -> Option<Result<Admin, ApiError>> {
        Some(enter(context))
    }
}

fn enter(context: &Context<'_>) -> Result<Admin, ApiError> {
    accounts(context).note_admin_access(&request_context(context)?.session);
    Ok(Admin)
}
