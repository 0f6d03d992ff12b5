//! The web page: the chat at `/`, GraphiQL at `/graphiql`, and what they load from `/assets`.
//!
//! `make page` builds it, and the binary carries it (a debug build reads it from disk). Invariant:
//! a browser that opens it talks to this server alone; the content security policy holds the page
//! to that. The page knows no secret, so it is served to anyone, in production too. This module
//! does not know GraphQL: the page is a client like any other.

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

/// How the page asks its user to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInMode {
    /// Any user name: development without an issuer.
    Development,
    /// A token of the configured issuer.
    Token,
}

#[derive(RustEmbed)]
#[folder = "playground/dist"]
struct Files;

/// Where the HTML wants its configuration.
const CONFIG_MARK: &str = "<!--loquat-config-->";

const NOT_BUILT: &str =
    "The web page is not built: run `make page`, then start the server again.\n";

/// Monaco, GraphiQL's editor, writes inline styles and starts workers from blobs. `'self'` covers
/// the WebSocket of the same origin.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page's routes, for the router of the server to merge.
pub fn router<S>(sign_in: SignInMode) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route(
            "/",
            get(move |headers: HeaderMap| async move { html("index.html", sign_in, &headers) }),
        )
        .route(
            "/graphiql",
            get(move |headers: HeaderMap| async move { html("graphiql.html", sign_in, &headers) }),
        )
        .route(
            "/assets/{*path}",
            get(|Path(path): Path<String>, headers: HeaderMap| async move {
                asset(&path, &headers)
            }),
        )
}

/// An HTML file, told how to sign in. Its address stays while its content changes, so a browser
/// asks each time.
fn html(name: &str, sign_in: SignInMode, request: &HeaderMap) -> Response {
    let Some(file) = Files::get(name) else {
        return (StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT).into_response();
    };
    let config = match sign_in {
        SignInMode::Development => r#"{"signIn":"development"}"#,
        SignInMode::Token => r#"{"signIn":"token"}"#,
    };
    let element =
        format!(r#"<script type="application/json" id="loquat-config">{config}</script>"#);
    let body = String::from_utf8_lossy(&file.data).replacen(CONFIG_MARK, &element, 1);
    let content = Content {
        etag: etag(&Sha256::digest(&body)),
        body: body.into(),
        content_type: "text/html; charset=utf-8".to_owned(),
        cache_control: HeaderValue::from_static("no-cache"),
    };
    content.answer(request)
}

/// A file whose name holds the hash of its content, so a browser keeps it for good.
fn asset(path: &str, request: &HeaderMap) -> Response {
    let Some(file) = Files::get(&format!("assets/{path}")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let content = Content {
        etag: etag(&file.metadata.sha256_hash()),
        content_type: match file.metadata.mimetype() {
            text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
            other => other.to_owned(),
        },
        body: Bytes::from_owner(file.data),
        cache_control: HeaderValue::from_static("public, max-age=31536000, immutable"),
    };
    content.answer(request)
}

fn etag(hash: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&hash[..16]))
}

struct Content {
    body: Bytes,
    content_type: String,
    cache_control: HeaderValue,
    /// A strong validator, in its quotes.
    etag: String,
}

impl Content {
    /// The content, or 304 to a browser that has it.
    fn answer(self, request: &HeaderMap) -> Response {
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            // Proxies that compress weaken a validator; the comparison is the weak one anyway.
            .any(|tag| tag.trim().trim_start_matches("W/") == self.etag);
        let headers = [
            (header::ETAG, self.etag),
            (header::CONTENT_TYPE, self.content_type),
        ];
        let policies = [
            (header::CACHE_CONTROL, self.cache_control),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (
                header::REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            ),
        ];
        if known {
            (StatusCode::NOT_MODIFIED, headers, policies).into_response()
        } else {
            (headers, policies, self.body).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    /// The page need not be built for the tests: then there is nothing to look at.
    fn is_built() -> bool {
        Files::get("index.html").is_some()
    }

    async fn get_with(path: &str, sign_in: SignInMode, etag: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        router(sign_in)
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_page_that_is_not_built_says_how_to_build_it() {
        let response = get_with("/", SignInMode::Development, None).await;
        if is_built() {
            assert_eq!(response.status(), StatusCode::OK);
        } else {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(text(response).await, NOT_BUILT);
        }
    }

    #[tokio::test]
    async fn html_says_how_to_sign_in_and_is_asked_for_each_time() {
        if !is_built() {
            return;
        }
        for path in ["/", "/graphiql"] {
            let token = get_with(path, SignInMode::Token, None).await;
            assert_eq!(token.headers()[header::CACHE_CONTROL], "no-cache");
            let etag = token.headers()[header::ETAG].to_str().unwrap().to_owned();
            let html = text(token).await;
            assert!(html.contains(
                r#"<script type="application/json" id="loquat-config">{"signIn":"token"}</script>"#
            ));
            assert!(!html.contains(CONFIG_MARK));

            let again = get_with(path, SignInMode::Token, Some(&etag)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            let weakened = format!("\"other\", W/{etag}");
            let again = get_with(path, SignInMode::Token, Some(&weakened)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

            let other_mode = get_with(path, SignInMode::Development, Some(&etag)).await;
            assert_eq!(other_mode.status(), StatusCode::OK);
            assert!(
                text(other_mode)
                    .await
                    .contains(r#"{"signIn":"development"}"#)
            );
        }
    }

    #[tokio::test]
    async fn assets_are_kept_for_good_and_carry_their_type() {
        for name in Files::iter().filter(|name| name.starts_with("assets/")) {
            let response = get_with(&format!("/{name}"), SignInMode::Token, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            let headers = response.headers();
            assert_eq!(
                headers[header::CACHE_CONTROL],
                "public, max-age=31536000, immutable"
            );
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let expected = match name.rsplit_once('.').unwrap().1 {
                "js" => "text/javascript; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                "ttf" => "font/ttf",
                other => panic!("an asset of a kind that nothing here knows: {other}"),
            };
            assert_eq!(headers[header::CONTENT_TYPE], expected, "{name}");
        }
    }

    #[tokio::test]
    async fn nothing_outside_the_page_is_served() {
        for path in [
            "/assets/nothing.js",
            "/assets/..%2f..%2fpackage.json",
            "/assets/../../package.json",
            "/assets/%2fetc%2fpasswd",
        ] {
            let response = get_with(path, SignInMode::Token, None).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
