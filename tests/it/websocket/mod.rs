//! `graphql-transport-ws`, rule by rule, on the transports' own small schema.

mod beginning;
mod ending;
mod handshake;
mod messages;
mod operations;

use loquat::http::graphql::{Options, Timing};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::mini::{Mini, options};

pub fn with_timing(change: impl FnOnce(&mut Timing)) -> Mini {
    let mut timing = Timing::default();
    change(&mut timing);
    Mini::with(Options {
        timing,
        ..options()
    })
}

pub async fn connection(mini: &Mini) -> TcpStream {
    let address = mini.serve().await;
    TcpStream::connect(address).await.expect("a connection")
}

pub fn next(id: &str, data: Value) -> Value {
    json!({"type": "next", "id": id, "payload": {"data": data}})
}

pub fn complete(id: &str) -> Value {
    json!({"type": "complete", "id": id})
}
