//! From an HTTP request to a socket: whose page asks, and which protocol it speaks.

use axum::{
    extract::{FromRequestParts, Request, WebSocketUpgrade, ws::WebSocket},
    response::Response,
};
use futures_util::SinkExt;
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{HOST, ORIGIN, UPGRADE},
    uri::Authority,
};
use tracing::Instrument;
use url::Url;

use super::{
    super::{Backend, Endpoint, endpoint::address_of, failure::Failure, single},
    connection,
    protocol::{Close, SUBPROTOCOL},
};
use crate::{
    auth::{credential_headers, no_credential_in_query},
    graphql::ErrorCode,
    http::server::Seat,
    telemetry::RequestId,
};

/// The default of 128 KiB would be held by every idle socket.
const READ_BUFFER_BYTES: usize = 2048;

pub(in super::super) fn is_handshake(request: &Request) -> bool {
    request
        .headers()
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

pub(in super::super) async fn accept<B: Backend>(
    endpoint: Endpoint<B>,
    request: Request,
) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(RequestId::new);
    let (mut parts, _) = request.into_parts();
    if !origin_is_allowed(&parts.uri, &parts.headers, &endpoint.options.socket_origins) {
        return single::plain_refusal(Failure::http(
            StatusCode::FORBIDDEN,
            ErrorCode::Forbidden,
            "Pages of this origin may not open a socket here: CORS_ORIGINS lists those that may.",
        ));
    }
    if let Err(error) = no_credential_in_query(parts.uri.query()) {
        return single::plain_refusal(endpoint.unusable(&error, address_of(&parts.extensions)));
    }
    if endpoint.lifecycle.is_draining() {
        return single::plain_refusal(Failure::draining());
    }
    // A message may be as large as a body.
    let most = endpoint.options.limits.body_bytes;
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade
            .protocols([SUBPROTOCOL])
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(most)
            .max_frame_size(most),
        Err(_) => {
            return single::plain_refusal(Failure::malformed(
                "This is not a WebSocket handshake of version 13.",
            ));
        }
    };
    let speaks = upgrade.selected_protocol().is_some();
    let seat = parts.extensions.remove::<Seat>();
    let span = tracing::info_span!("socket", request.id = id.as_str());
    let (headers, address) = (
        credential_headers(&parts.headers),
        address_of(&parts.extensions),
    );
    upgrade.on_upgrade(move |socket| async move {
        let lifecycle = endpoint.lifecycle.clone();
        let run = async move {
            if speaks {
                connection::run(endpoint, socket, headers, address).await;
            } else {
                refuse_protocol(socket, endpoint.options.timing.close).await;
            }
            drop(seat);
        };
        // The process waits for its sockets. A panic is in the log; the socket is gone with it. The
        // library's own task ends here.
        drop(lifecycle.spawn(run.instrument(span)));
    })
}

async fn refuse_protocol(mut socket: WebSocket, patience: std::time::Duration) {
    let close = Close::subprotocol().into_message();
    let _ = tokio::time::timeout(patience, async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
        socket.close().await
    })
    .await;
}

/// A browser sends cookies and reaches inner networks with any page's socket, and asks nobody
/// first: the server must look at the page's origin itself. Other clients send none.
fn origin_is_allowed(uri: &Uri, headers: &HeaderMap, listed: &[String]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
        return false;
    };
    listed.iter().any(|allowed| allowed == origin) || is_own(origin, uri, headers)
}

fn is_own(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let Ok(origin) = Url::parse(origin) else {
        return false;
    };
    if !matches!(origin.scheme(), "http" | "https") {
        return false;
    }
    let asked = uri.authority().cloned().or_else(|| {
        let host: &HeaderValue = headers.get(HOST)?;
        host.to_str().ok()?.parse::<Authority>().ok()
    });
    let (Some(asked), Some(host)) = (asked, origin.host_str()) else {
        return false;
    };
    let default = origin.port_or_known_default();
    asked.host().eq_ignore_ascii_case(host)
        && asked.port_u16().or(known_default(&origin)) == default
}

/// The port that a Host without one means, seen from a page of this origin.
fn known_default(origin: &Url) -> Option<u16> {
    match origin.scheme() {
        "https" => Some(443),
        _ => Some(80),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, header};

    use super::origin_is_allowed;

    fn allowed(host: &'static str, origin: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        let listed = ["https://app.example.com".to_owned()];
        origin_is_allowed(&Uri::from_static("/graphql"), &headers, &listed)
    }

    #[test]
    fn the_own_origin_and_the_listed_ones_may_open_sockets() {
        assert!(allowed("chat.example.com", "https://chat.example.com"));
        assert!(allowed("chat.example.com", "http://chat.example.com"));
        assert!(allowed("chat.example.com:443", "https://chat.example.com"));
        assert!(allowed("localhost:8000", "http://localhost:8000"));
        assert!(allowed("[::1]:8000", "http://[::1]:8000"));
        assert!(allowed("chat.example.com", "https://app.example.com"));
        assert!(origin_is_allowed(
            &Uri::from_static("/graphql"),
            &HeaderMap::new(),
            &[]
        ));
    }

    #[test]
    fn no_other_origin_may() {
        for origin in [
            "null",
            "",
            "https://evil.example.com",
            "https://chat.example.com.evil.example",
            "https://chat.example.com:8443",
            "file://chat.example.com",
            "http://app.example.com",
        ] {
            assert!(!allowed("chat.example.com", origin), "{origin}");
        }
        let mut twice = HeaderMap::new();
        twice.insert(header::HOST, HeaderValue::from_static("a.example"));
        twice.append(
            header::ORIGIN,
            HeaderValue::from_static("https://a.example"),
        );
        twice.append(
            header::ORIGIN,
            HeaderValue::from_static("https://b.example"),
        );
        assert!(!origin_is_allowed(&Uri::from_static("/"), &twice, &[]));
    }
}
