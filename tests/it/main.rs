mod config;
mod provider;
mod schema;
