mod config;
mod database;
mod idempotency;
mod provider;
mod replicas;
mod reply;
mod schema;
mod support;
