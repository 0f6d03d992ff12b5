//! What the integration tests stand on: a database of their own, and people to use it.

mod database;

pub use database::{TestDatabase, identity, sign_in};
