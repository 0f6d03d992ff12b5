//! HTTP: the router and what it is made of.
//!
//! Every route stands in the same shell: a request id and a log line, the guard that keeps
//! development on loopback, CORS, and answers in JSON for whatever has no route.

mod client_address;
pub mod graphql;
mod health;
mod origin;
pub mod page;
mod refusal;
mod requests;
pub mod server;

use axum::{Router, middleware, response::Response};
use http::StatusCode;

use crate::config::{Environment, Settings};

pub use health::Health;

/// The whole server: `graphql` holds the routes of `/graphql`.
pub fn router(settings: &Settings, graphql: Router, health: Health) -> Router {
    let sign_in = match settings.has_development_sign_in() {
        true => page::SignInMode::Development,
        false => page::SignInMode::Token,
    };
    let routes = graphql
        .merge(page::router(sign_in))
        .merge(health::router(health));
    shell(routes, settings.environment, &settings.cors_origins)
}

fn shell(routes: Router, environment: Environment, cors_origins: &[String]) -> Router {
    // The layer added last is the first to see a request.
    let mut router = routes.fallback(not_found);
    if !cors_origins.is_empty() {
        router = router.layer(origin::cors(cors_origins));
    }
    if environment == Environment::Development {
        router = router.layer(middleware::from_fn(origin::loopback_only));
    }
    router.layer(middleware::from_fn(requests::trace))
}

async fn not_found() -> Response {
    refusal::refusal(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "There is nothing at this address; the API is at /graphql.",
    )
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        routing::{get, post},
    };
    use http::{Request, StatusCode, header};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::shell;
    use crate::config::Environment;

    fn router(environment: Environment, cors_origins: &[&str]) -> Router {
        let origins: Vec<_> = cors_origins.iter().map(ToString::to_string).collect();
        let routes = Router::new()
            .route("/graphql", post(async || "{}"))
            .route("/panic", get(panic));
        shell(routes, environment, &origins)
    }

    async fn panic() {
        panic!("on purpose");
    }

    async fn send(router: Router, request: Request<Body>) -> (http::response::Parts, Value) {
        let response = router.oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body in memory");
        (parts, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).expect("a right request")
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_graphql_error_with_a_request_id() {
        let (parts, body) = send(
            router(Environment::Production, &[]),
            request("GET", "/nowhere", &[]),
        )
        .await;

        assert_eq!(parts.status, StatusCode::NOT_FOUND);
        assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND");
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        let id = parts.headers["x-request-id"].to_str().expect("text");
        assert_eq!(
            uuid::Uuid::parse_str(id).expect("a uuid").get_version_num(),
            7
        );
    }

    #[tokio::test]
    async fn a_sane_request_id_is_echoed_and_another_is_replaced() {
        for (sent, echoed) in [("trace-1.a_b", true), ("two words", false), ("", false)] {
            let (parts, _) = send(
                router(Environment::Production, &[]),
                request("GET", "/nowhere", &[("x-request-id", sent)]),
            )
            .await;
            assert_eq!(parts.headers["x-request-id"] == sent, echoed, "{sent}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_tells_its_request_id_alone() {
        let (parts, body) = send(
            router(Environment::Production, &[]),
            request("GET", "/panic", &[("x-request-id", "this-one")]),
        )
        .await;

        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            body,
            json!({ "errors": [{
                "message": "Something went wrong on the server.",
                "extensions": { "code": "INTERNAL_SERVER_ERROR", "requestId": "this-one" },
            }] })
        );
    }

    #[tokio::test]
    async fn development_answers_only_a_loopback_host_origin_and_sender() {
        let status = async |headers: &[(&str, &str)]| {
            let request = request("POST", "/graphql", headers);
            let (parts, body) = send(router(Environment::Development, &[]), request).await;
            if parts.status == StatusCode::FORBIDDEN {
                assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN");
            }
            parts.status
        };

        assert_eq!(status(&[("host", "localhost:8000")]).await, StatusCode::OK);
        assert_eq!(
            status(&[("host", "[::1]:8000"), ("origin", "http://localhost:5173")]).await,
            StatusCode::OK
        );
        assert_eq!(
            status(&[("host", "rebound.example.com:8000")]).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            status(&[
                ("host", "127.0.0.1:8000"),
                ("origin", "https://evil.example.com")
            ])
            .await,
            StatusCode::FORBIDDEN
        );
        for (name, value, expected) in [
            ("x-forwarded-for", "::1", StatusCode::OK),
            ("x-forwarded-for", "203.0.113.7", StatusCode::FORBIDDEN),
            ("forwarded", "for=203.0.113.7", StatusCode::FORBIDDEN),
        ] {
            let headers = [("host", "localhost:8000"), (name, value)];
            assert_eq!(status(&headers).await, expected, "{name}: {value}");
        }
    }

    #[tokio::test]
    async fn a_configured_origin_may_read_the_answer_and_no_other() {
        let preflight = async |origin: &str| {
            let request = request(
                "OPTIONS",
                "/graphql",
                &[
                    ("host", "api.example.com"),
                    ("origin", origin),
                    ("access-control-request-method", "POST"),
                    (
                        "access-control-request-headers",
                        "authorization,content-type",
                    ),
                ],
            );
            let router = router(Environment::Production, &["https://app.example.com"]);
            send(router, request).await.0.headers
        };

        let allowed = preflight("https://app.example.com").await;
        assert_eq!(
            allowed[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "https://app.example.com"
        );
        assert_eq!(
            allowed[header::ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization,content-type"
        );
        assert!(!allowed.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        for foreign in ["https://app.example.com.evil.example", "null"] {
            assert!(
                !preflight(foreign)
                    .await
                    .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN),
                "{foreign}"
            );
        }
        let answer = send(
            router(Environment::Production, &["https://app.example.com"]),
            request("POST", "/graphql", &[("origin", "https://app.example.com")]),
        )
        .await
        .0;
        assert_eq!(
            answer.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS],
            "x-request-id,retry-after"
        );
    }
}
