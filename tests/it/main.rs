mod config;
mod database;
mod provider;
mod schema;
mod support;
