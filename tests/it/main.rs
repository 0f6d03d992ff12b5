mod config;
mod provider;
