//! Loquat: the GraphQL chat backend for apps whose users already sign in somewhere else.
//!
//! The modules stand in reading order. A module may use the ones after it, never one before
//! it; `tests/it/architecture.rs` reads the `use` lines and holds this.

pub mod cli;

pub mod app;
pub mod lifecycle;

pub mod http;

pub mod graphql;

pub mod accounts;
pub mod chat;

pub mod audit;
pub mod limits;

pub mod broker;
pub mod db;
pub mod llm;

pub mod telemetry;

pub mod auth;
pub mod config;
pub mod model;
