//! Which pages and which host names a request may come by.
//!
//! In development anybody may sign in as anybody, so the server answers only what is loopback
//! by address, by the Host that was asked for and by the Origin of the page that asks: a foreign
//! page cannot reach it, even one whose name was rebound to 127.0.0.1. Elsewhere CORS decides,
//! by exact origins.

use std::{net::IpAddr, time::Duration};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::{Host, Url};

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
        .map(|host| host.to_str().ok().and_then(|host| host.parse().ok()))
        .chain(uri.authority().map(|authority| Some(authority.clone())))
        .peekable();
    named.peek().is_some()
        && named.all(|authority: Option<Authority>| {
            authority.is_some_and(|authority| is_loopback_host(authority.host()))
        })
}

fn origin_is_loopback(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let url = origin.to_str().ok().and_then(|url| Url::parse(url).ok());
        url.is_some_and(|url| match url.host() {
            Some(Host::Domain(host)) => is_loopback_host(host),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        })
    })
}

fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

    use super::{host_is_loopback, origin_is_loopback};

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
        ] {
            assert!(!origin(bad), "{bad}");
        }
    }
}
