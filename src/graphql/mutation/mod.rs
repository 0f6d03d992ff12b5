//! Every mutation takes one input and gives one nullable payload, so that an error in one leaves
//! the rest of the answer standing.

mod api_keys;
mod conversations;
mod send;
mod start;
mod stop;
mod users;
mod versions;

use async_graphql::MergedObject;

use super::access::Guarded;
use crate::model::Right;

// Each part is guarded as a whole, by what its fields have in common.
#[derive(MergedObject)]
pub struct Mutation(Guarded<OwnMutation>, Guarded<users::AdminMutation>);

impl Default for Mutation {
    fn default() -> Self {
        Self(
            Guarded::new(Right::Write, OwnMutation::default()),
            Guarded::new(Right::Admin, users::AdminMutation),
        )
    }
}

// What users do to their own things.
#[derive(MergedObject, Default)]
struct OwnMutation(
    start::StartMutation,
    send::SendMutation,
    stop::StopMutation,
    versions::VersionMutation,
    conversations::ConversationMutation,
    api_keys::ApiKeyMutation,
    users::ViewerMutation,
);
