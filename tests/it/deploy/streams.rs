//! Connections that stay open behind the two proxies, on the transports' own small schema: what the
//! server does so that they are passed on at once and kept.

use std::{net::SocketAddr, time::Duration};

use reqwest::RequestBuilder;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::proxy::{Kind, replaced};
use crate::{
    mini::{Mini, Socket},
    support::{
        installed::{Listening, installed},
        program::client,
        stream::{Form, Said, Stream},
    },
    websocket::with_timing,
};

/// How long the proxies wait here, and how often the server pings then.
const PROXY: &str = "2s";
const PING: Duration = Duration::from_millis(200);

/// So many pings take half as long again as the proxies wait.
const PINGS: usize = 15;

fn asking(address: SocketAddr, query: &str) -> RequestBuilder {
    client()
        .post(format!("http://{address}/graphql"))
        .bearer_auth("ada")
        .json(&json!({ "query": query }))
}

async fn open_socket(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut socket = Socket::open(stream).await;
    socket.init("ada").await;
    socket
}

/// By the recipe, but for how long it waits for the silent.
async fn impatient(kind: Kind, mini: &Mini) -> Listening {
    let servers = [mini.serve().await; 3];
    let proxy = kind.changed_before(servers, |recipe| replaced(&recipe, "60s", PROXY));
    proxy.await.expect("it is installed")
}

/// Behind a proxy that waits for the silent no longer than this.
async fn the_quiet_are_kept_and_the_silent_are_cut(kind: Kind) {
    if installed(kind.name()).is_none() {
        return;
    }
    let quiet = with_timing(|timing| timing.ping = PING);
    let proxy = impatient(kind, &quiet).await;
    let streams = async |form| {
        let mut stream = Stream::open(asking(proxy.address, NEVER), form).await;
        for _ in 0..PINGS {
            assert_eq!(stream.next().await, Some(Said::Heartbeat), "{form:?}");
        }
    };
    let sockets = async {
        let mut socket = open_socket(proxy.address).await;
        for _ in 0..PINGS {
            let frame = socket.frame().await;
            assert!(matches!(frame, Some(Message::Ping(_))), "{frame:?}");
        }
    };
    tokio::join!(streams(Form::Events), streams(Form::Parts), sockets);

    let silent = with_timing(|timing| timing.ping = Duration::from_secs(3600));
    let proxy = impatient(kind, &silent).await;
    let streams = async |form| {
        let mut stream = Stream::open(asking(proxy.address, NEVER), form).await;
        assert_eq!(stream.next().await, None, "{form:?}");
    };
    let sockets = async {
        let mut socket = open_socket(proxy.address).await;
        assert_eq!(socket.frame().await, None);
    };
    tokio::join!(streams(Form::Events), streams(Form::Parts), sockets);
}

const NEVER: &str = "subscription { never }";

#[tokio::test]
async fn nginx_keeps_the_quiet_and_cuts_the_silent() {
    the_quiet_are_kept_and_the_silent_are_cut(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_keeps_the_quiet_and_cuts_the_silent() {
    the_quiet_are_kept_and_the_silent_are_cut(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_that_buffers_and_speaks_http_1_0_as_it_does_by_default_passes_streams_on() {
    if installed(Kind::Nginx.name()).is_none() {
        return;
    }
    let mini = Mini::new();
    let servers = [mini.serve().await; 3];
    let proxy = Kind::Nginx.changed_before(servers, |recipe| {
        // HTTP/1.0 has no chunks: without being asked, nginx would wait until its buffer is full.
        ["proxy_buffering off;", "proxy_http_version 1.1;"]
            .iter()
            .fold(recipe, |recipe, setting| replaced(&recipe, setting, ""))
    });
    let proxy = proxy.await.expect("it is installed");
    for form in Form::ALL {
        let request = asking(proxy.address, "subscription { ticks }");
        let mut stream = Stream::open(request, form).await;
        mini.controls.running(1).await;
        for number in 1..=3 {
            mini.controls.tick(number);
            assert_eq!(stream.data().await, json!({ "ticks": number }));
        }
        drop(stream);
        mini.controls.running(0).await;
    }
}
