//! `/graphql`: GraphQL over HTTP, with single answers and streams, and over WebSockets.
//!
//! The transports speak their protocols and nothing more; [`endpoint`] is what they share: who
//! asks, whether the operation may run, and how it is run. Invariant: no text reaches the
//! executor except through [`Endpoint`], so that what the guard and the sign-in rule refuse is
//! refused everywhere. Where a request names its document, [`persisted`] finds the text, there. They
//! must not know the schema: what is executed stands behind [`Backend`].

mod backend;
mod batch;
mod body;
mod endpoint;
mod exchange;
mod failure;
mod media;
mod params;
mod persisted;
mod queue;
mod respond;
mod single;
mod streamed;
mod timing;
mod unfinished;
mod websocket;
mod weight;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::any,
};

pub use backend::{Backend, ChatBackend, SignInError};
pub use endpoint::{Endpoint, Options};
pub use persisted::{ManifestError, Persisted, TrustedDocuments};
pub use timing::Timing;

/// The routes of `/graphql`.
pub fn router<B: Backend>(endpoint: Endpoint<B>) -> Router {
    Router::new()
        .route("/graphql", any(serve::<B>))
        .with_state(endpoint)
}

async fn serve<B: Backend>(State(endpoint): State<Endpoint<B>>, request: Request) -> Response {
    if websocket::is_handshake(&request) {
        websocket::accept(endpoint, request).await
    } else {
        exchange::answer(endpoint, request).await
    }
}
