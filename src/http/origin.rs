//! Which pages and which host names a request may come by.
//!
//! In development anybody may sign in as anybody, so the server answers only what is loopback
//! by address, by the Host that was asked for, by the Origin of the page that asks and by whom a
//! proxy says it asks for: a foreign page cannot reach it, even one whose name was rebound to
//! 127.0.0.1, nor can a stranger by a tunnel that rewrites Host. Elsewhere CORS decides, by exact
//! origins.

use std::{net::IpAddr, time::Duration};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{refusal::refusal, requests::X_REQUEST_ID};

/// How long a browser may remember a preflight's answer; the most that Chromium honours.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7200);

/// Refuses, for every path, whatever is not loopback through and through.
pub(super) async fn loopback_only(request: Request, next: Next) -> Response {
    if !host_is_loopback(request.uri(), request.headers()) {
        return refusal(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "In development this server answers only to localhost, 127.0.0.1 and [::1].",
        );
    }
    if !origin_is_loopback(request.headers()) {
        return refusal(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "In development this server answers only pages of localhost, 127.0.0.1 and [::1].",
        );
    }
    if !sender_is_loopback(request.headers()) {
        return refusal(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "In development this server answers only this machine, and a proxy or tunnel brought \
             this request from another.",
        );
    }
    next.run(request).await
}

/// Answers preflights, and lets pages of these origins read the answers.
pub(super) fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins
        .iter()
        .map(|origin| HeaderValue::from_str(origin).expect("an origin was checked to be ASCII"))
        .collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([X_REQUEST_ID, header::RETRY_AFTER])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// HTTP/1.1 names the host in `Host`, HTTP/2 in the address, and a request may do both.
fn host_is_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut named = headers
        .get_all(header::HOST)
        .iter()
        .map(|host| host.to_str().ok())
        .chain(uri.authority().map(|authority| Some(authority.as_str())))
        .peekable();
    named.peek().is_some() && named.all(|host| host.is_some_and(is_loopback_authority))
}

/// An origin is a scheme and an authority and nothing else; ours are pages.
fn origin_is_loopback(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(is_loopback_authority)
    })
}

/// Whether every proxy on the way, if there was any, says that it asks for this machine.
fn sender_is_loopback(headers: &HeaderMap) -> bool {
    let all = |name: &str, is_loopback: fn(&str) -> bool| {
        headers.get_all(name).iter().all(|value| {
            value
                .to_str()
                .is_ok_and(|list| list.split(',').map(str::trim).all(is_loopback))
        })
    };
    all("forwarded", is_loopback_element)
        && all("x-forwarded-for", is_loopback_node)
        && all("x-forwarded-host", is_loopback_node)
        && all("x-real-ip", is_loopback_node)
}

/// One proxy's part of `Forwarded`, like `for="[::1]:4711";proto=http` (RFC 7239, section 4). A
/// quoted comma or semicolon falls apart into what is refused.
fn is_loopback_element(element: &str) -> bool {
    element.split(';').all(|pair| match pair.split_once('=') {
        Some((name, value)) => {
            name.trim().eq_ignore_ascii_case("proto") || is_loopback_node(value.trim())
        }
        None => false,
    })
}

/// A host with or without a port, where an IPv6 address without one may lack its brackets.
fn is_loopback_node(node: &str) -> bool {
    let node = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'))
        .unwrap_or(node);
    node.parse().is_ok_and(is_loopback_address) || is_loopback_authority(node)
}

/// A host and perhaps a port; one with user information is not what a browser sends.
fn is_loopback_authority(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<Authority>() else {
        return false;
    };
    let host = parsed.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let port_is_valid = match authority.strip_prefix(host) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| {
            // Parsing alone would take a sign.
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        }),
        // Something stands before the host.
        None => false,
    };
    port_is_valid
        && (host.eq_ignore_ascii_case("localhost")
            || address.parse().is_ok_and(is_loopback_address))
}

/// A server that listens on both families sees 127.0.0.1 as `::ffff:127.0.0.1`.
fn is_loopback_address(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

    use super::{host_is_loopback, origin_is_loopback, sender_is_loopback};

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_host_is_loopback_by_name_or_address_with_any_port() {
        let host =
            |host| host_is_loopback(&Uri::from_static("/"), &headers(&[(header::HOST, host)]));

        for good in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1",
            "127.0.0.1:9",
            "[::1]",
            "[::1]:8000",
        ] {
            assert!(host(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io:8000",
            "0.0.0.0:8000",
            "192.168.0.7",
            "localhost@example.com",
            "example.com@localhost",
            "localhost@localhost",
            "localhost:80@localhost",
            "localhost:",
            "localhost:http",
            "localhost:+80",
            "localhost:65536",
            "example.com#localhost",
            "[::2]",
        ] {
            assert!(!host(bad), "{bad}");
        }
    }

    #[test]
    fn no_host_or_two_that_disagree_is_not_loopback() {
        assert!(!host_is_loopback(&Uri::from_static("/"), &HeaderMap::new()));
        assert!(host_is_loopback(
            &Uri::from_static("http://localhost:8000/graphql"),
            &HeaderMap::new()
        ));
        assert!(!host_is_loopback(
            &Uri::from_static("http://example.com/graphql"),
            &headers(&[(header::HOST, "localhost")])
        ));
        assert!(!host_is_loopback(
            &Uri::from_static("/"),
            &headers(&[(header::HOST, "localhost"), (header::HOST, "example.com")])
        ));
    }

    #[test]
    fn an_origin_is_absent_or_loopback() {
        let origin = |origin| origin_is_loopback(&headers(&[(header::ORIGIN, origin)]));

        assert!(origin_is_loopback(&HeaderMap::new()));
        assert!(origin("http://localhost:5173"));
        assert!(origin("http://127.0.0.1:8000"));
        assert!(origin("http://[::1]:8000"));
        for bad in [
            "null",
            "",
            "https://example.com",
            "http://localhost.example.com",
            "javascript://localhost/",
            "ftp://localhost",
            "file://localhost",
            "chrome-extension://localhost",
            "localhost",
            "http:localhost",
            "http://",
            "http://example.com@localhost",
            "http://@localhost",
            "http://localhost@example.com",
            "http://localhost:5173@example.com",
            "http://localhost:65536",
            "http://localhost http://example.com",
        ] {
            assert!(!origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_sender_that_a_proxy_names_is_loopback() {
        let sender = |name: &'static str, value| {
            sender_is_loopback(&headers(&[(HeaderName::from_static(name), value)]))
        };

        assert!(sender_is_loopback(&HeaderMap::new()));
        for name in ["x-forwarded-for", "x-forwarded-host", "x-real-ip"] {
            for good in [
                "127.0.0.1",
                "127.8.9.10:4711",
                "::1",
                "[::1]",
                "\"[::1]:4711\"",
                "::ffff:127.0.0.1",
                "LocalHost:5173",
                "127.0.0.1, ::1 ,localhost",
            ] {
                assert!(sender(name, good), "{name}: {good}");
            }
            for bad in [
                "",
                "203.0.113.7",
                "203.0.113.7:4711",
                "127.0.0.1, 203.0.113.7",
                "203.0.113.7,127.0.0.1",
                "2001:db8::1",
                "\"[2001:db8::1]:4711\"",
                "::ffff:203.0.113.7",
                "loquat.tunnel.example",
                "localhost@tunnel.example",
                "unknown",
                "\"127.0.0.1",
            ] {
                assert!(!sender(name, bad), "{name}: {bad}");
            }
        }
        assert!(!sender_is_loopback(&headers(&[
            (HeaderName::from_static("x-forwarded-for"), "127.0.0.1"),
            (HeaderName::from_static("x-forwarded-for"), "203.0.113.7"),
        ])));

        for good in [
            "for=127.0.0.1",
            "For=\"[::1]:4711\";Proto=http;By=127.0.0.1;Host=\"localhost:8000\"",
            "for=127.0.0.1;proto=https, for=\"[::1]\"",
        ] {
            assert!(sender("forwarded", good), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1",
            "for=203.0.113.7",
            "for=127.0.0.1;host=loquat.tunnel.example",
            "for=127.0.0.1, for=\"[2001:db8::1]:4711\"",
            "proto=http;for=_hidden",
            "for=unknown",
            "for=\"127.0.0.1, for=127.0.0.1\"",
        ] {
            assert!(!sender("forwarded", bad), "{bad}");
        }
    }
}
