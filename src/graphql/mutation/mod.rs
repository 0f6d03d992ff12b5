//! Every mutation takes one input and gives one nullable payload, so that an error in one leaves
//! the rest of the answer standing.

mod conversations;
mod send;
mod start;

use async_graphql::MergedObject;

#[derive(MergedObject, Default)]
pub struct Mutation(
    start::StartMutation,
    send::SendMutation,
    conversations::ConversationMutation,
);
