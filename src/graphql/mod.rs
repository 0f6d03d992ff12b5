//! The schema: what front ends see. Resolvers decode ids, call [`Chat`], and wrap what it
//! returns; a rule that is not about GraphQL does not live here.
//!
//! Invariants: no resolver runs without a [`Viewer`](crate::db::Viewer) in its context; no error
//! but an [`ApiError`] leaves a resolver, so nothing internal reaches a client.

mod access;
mod context;
mod cursor;
mod errors;
pub mod guard;
mod ids;
mod list;
mod loaders;
mod mutation;
mod query;
mod scalars;
mod subscription;
mod types;
mod vetting;

use async_graphql::SchemaBuilder;

pub use context::{MOST_TEXT, TextBudget, in_flight_retry_after, session_data};
pub use errors::{ApiError, ErrorCode, limit_details};
pub use list::List;
pub use vetting::Vetting;

use self::{access::GuardedStreams, mutation::Mutation, query::Query, subscription::Subscription};
use crate::{accounts::Accounts, chat::Chat, model::Right};

pub type Schema = async_graphql::Schema<Query, Mutation, GuardedStreams<Subscription>>;

/// The schema over a running chat and its users' accounts.
pub fn schema(chat: Chat, accounts: Accounts) -> Schema {
    builder().data(chat).data(accounts).finish()
}

/// The schema's text, as `schema.graphql` holds it.
pub fn sdl() -> String {
    let mut sdl = builder().finish().sdl().trim().to_owned();
    sdl.push('\n');
    sdl
}

fn builder() -> SchemaBuilder<Query, Mutation, GuardedStreams<Subscription>> {
    let subscription = GuardedStreams::new(Right::Read, Subscription);
    async_graphql::Schema::build(Query::default(), Mutation::default(), subscription)
        .register_output_type::<types::Node>()
        .disable_suggestions()
}
