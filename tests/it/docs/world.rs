//! What the recipes' issuers are here: servers of key sets on loopback, in place of theirs.

use std::net::TcpListener;

use axum::http::StatusCode;
use loquat::config::Sources;
use serde_json::json;
use url::Url;

use super::pages::Block;
use crate::{
    auth::{issuer::TestKey, jwks_server::JwksServer},
    support::program::Program,
};

/// The ids under which the server publishes its keys.
pub const ED25519: &str = "ed";
pub const P256: &str = "ec";
pub const RSA: &str = "rsa";

pub struct World {
    /// Publishes a key of each kind, at every path.
    server: JwksServer,
    /// Has nothing anywhere.
    empty: JwksServer,
    /// Answers with JSON that is no key set.
    certificates: JwksServer,
}

impl World {
    pub async fn start() -> Self {
        let keys = [
            TestKey::ed25519_a().published(ED25519, json!({})),
            TestKey::p256_a().published(P256, json!({})),
            TestKey::rsa_a().published(RSA, json!({})),
        ];
        let empty = JwksServer::start(&[]).await;
        empty.answer(|| StatusCode::NOT_FOUND);
        let certificates = JwksServer::start(&[]).await;
        certificates.answer(|| r#"{"k1": "-----BEGIN CERTIFICATE-----"}"#);
        Self {
            server: JwksServer::start(&keys).await,
            empty,
            certificates,
        }
    }

    /// Where the issuer of the recipe is, instead of where the page says.
    pub fn origin(&self) -> String {
        origin(&self.server.url)
    }

    pub fn empty(&self) -> String {
        self.empty.url.clone()
    }

    pub fn certificates(&self) -> String {
        self.certificates.url.clone()
    }

    /// Where nobody listens.
    pub fn nowhere(&self) -> String {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", free.local_addr().expect("bound"))
    }

    /// The settings of a page, whose addresses of keys lead to the servers here.
    pub fn sources(&self, settings: &Block) -> Sources {
        self.here(settings).sources()
    }

    pub fn program(&self, program: Program, settings: &Block) -> Program {
        match self.here(settings) {
            Block::Variables(variables) => {
                variables.iter().fold(program, |program, (name, value)| {
                    program.variable(name, value)
                })
            }
            Block::File(text) => program
                .file(".env", super::recipes::TABLE_SECRETS)
                .file("loquat.toml", &text),
        }
    }

    fn here(&self, settings: &Block) -> Block {
        const ADDRESSES: [&str; 3] = ["SUPABASE_PROJECT_URL", "BETTER_AUTH_URL", "JWT_JWKS_URL"];

        match settings {
            Block::Variables(variables) => Block::Variables(
                variables
                    .iter()
                    .map(|(name, value)| match ADDRESSES.contains(&name.as_str()) {
                        true => (name.clone(), self.moved(value)),
                        false => (name.clone(), value.clone()),
                    })
                    .collect(),
            ),
            Block::File(text) => Block::File(
                text.lines()
                    .map(|line| match line.split_once(" = ") {
                        Some((key @ ("url" | "jwks_url"), value)) => {
                            format!("{key} = \"{}\"\n", self.moved(value.trim_matches('"')))
                        }
                        _ => format!("{line}\n"),
                    })
                    .collect(),
            ),
        }
    }

    /// An address of a page leads here; one of this machine stays.
    fn moved(&self, address: &str) -> String {
        match address.starts_with("https://") {
            true => address.replacen(&origin(address), &self.origin(), 1),
            false => address.to_owned(),
        }
    }
}

fn origin(address: &str) -> String {
    let url = Url::parse(address).expect("a URL");
    url.origin().ascii_serialization()
}
