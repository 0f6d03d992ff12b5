//! What happened, who did it, with which credential, from where.

mod events;
mod graphql;
mod security_log;
mod store;
