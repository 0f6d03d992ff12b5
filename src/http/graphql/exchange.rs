//! One HTTP request, from its headers to its answer: a single one
//! (<https://graphql.github.io/graphql-over-http/draft/>) or a stream.

use async_graphql::parser::types::OperationType;
use axum::{extract::Request, response::Response};
use futures_util::FutureExt;
use http::{Method, StatusCode, request::Parts};

use super::{
    Backend, Endpoint, batch,
    body::{self, Asked},
    endpoint::{Carrier, address_of, over},
    failure::{Failure, Kind},
    media::{Acceptable, Media},
    params::Params,
    respond, single, streamed, weight,
};
use crate::{auth::no_credential_in_query, graphql::ErrorCode, telemetry::RequestId};

pub(super) async fn answer<B: Backend>(endpoint: Endpoint<B>, request: Request) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(RequestId::new);
    let acceptable = Acceptable::of(request.headers());
    match run(&endpoint, request, acceptable, &id).await {
        Ok(response) => response,
        Err(failure) => refusal(failure, acceptable),
    }
}

async fn run<B: Backend>(
    endpoint: &Endpoint<B>,
    request: Request,
    acceptable: Acceptable,
    id: &RequestId,
) -> Result<Response, Failure> {
    if acceptable.single.is_none() && acceptable.stream.is_none() {
        return Err(not_acceptable(
            "The answer can be application/graphql-response+json, application/json or \
             text/event-stream; Accept allows none of them.",
        ));
    }
    let (parts, body) = request.into_parts();
    let is_get = parts.method == Method::GET;
    if !is_get && parts.method != Method::POST {
        return Err(Failure::method(
            "GET, POST",
            "GraphQL is asked by GET or POST.",
        ));
    }
    let limits = &endpoint.options.limits;
    // Who asks decides how much is read, and whether there is room for it.
    let admitted = sign_in(endpoint, &parts).await.and_then(|session| {
        // What nobody in particular sends is bounded by itself.
        let caller = session.map(|session| {
            let bytes = match is_get {
                true => weight::of_query_string(parts.uri.query().unwrap_or_default()),
                false => body::weight(&parts.headers, limits),
            };
            let presence = endpoint.presence(&session);
            Endpoint::admit(session, presence, bytes)
        });
        caller.transpose()
    });
    let caller = match admitted {
        Ok(caller) => caller,
        Err(failure) => {
            tokio::select! {
                () = body::refuse(&parts.headers, body) => {}
                () = endpoint.lifecycle.hard_stop().cancelled() => {}
            }
            return Err(failure);
        }
    };
    let asked = if is_get {
        Asked::One(Params::from_query_string(
            parts.uri.query().unwrap_or_default(),
        )?)
    } else {
        let charge = caller.as_ref().map(|caller| &*caller.charge);
        let asked = tokio::select! {
            asked = body::read(&parts.headers, body, limits, charge) => asked?,
            () = endpoint.lifecycle.hard_stop().cancelled() => return Err(Failure::draining()),
        };
        // That took as long as the client liked.
        if let Some(reason) = caller
            .as_ref()
            .and_then(|caller| over::<B>(&caller.session).now_or_never())
        {
            return Err(Failure::unauthenticated(reason));
        }
        asked
    };
    let params = match asked {
        Asked::One(params) => params,
        Asked::Batch(batch) => {
            let media = acceptable.single.ok_or_else(|| {
                not_acceptable(
                    "The answer to a batch is one list: accept application/json or \
                     application/graphql-response+json.",
                )
            })?;
            return batch::answer(endpoint, batch, caller.as_ref(), media, id).await;
        }
    };
    let carrier = if is_get { Carrier::Get } else { Carrier::Post };
    let operation = endpoint.prepare(params, carrier, caller.as_ref()).await?;
    // Clients list streams with every query, and mean them for subscriptions.
    let form = match (operation.kind, acceptable.single) {
        (OperationType::Subscription, _) | (_, None) => acceptable.stream.ok_or_else(|| {
            not_acceptable(
                "A subscription has more than one answer: accept text/event-stream or \
                 multipart/mixed;subscriptionSpec=1.0, or open a WebSocket (graphql-transport-ws).",
            )
        })?,
        (_, Some(media)) => {
            return match endpoint.execute(operation, endpoint.deadline()).await {
                Ok(response) => {
                    let payload = respond::finish(response, id);
                    let presence = caller.as_ref().map(|caller| &caller.presence);
                    Ok(single::success(&payload, media, presence))
                }
                Err(unfinished) => Err(unfinished.into_failure(id)),
            };
        }
    };
    streamed::answer(endpoint, operation, caller, form, id)
}

/// `None`: nobody in particular asks.
async fn sign_in<B: Backend>(
    endpoint: &Endpoint<B>,
    parts: &Parts,
) -> Result<Option<B::Session>, Failure> {
    let address = address_of(&parts.extensions);
    no_credential_in_query(parts.uri.query())
        .map_err(|error| endpoint.unusable(&error, address))?;
    endpoint.sign_in_by_headers(&parts.headers, address).await
}

/// In the form of an answer that the client takes. What GraphQL refuses is an event where only
/// events are taken; what is refused below it has its status there, too.
fn refusal(failure: Failure, acceptable: Acceptable) -> Response {
    match acceptable {
        Acceptable {
            single: None,
            stream: Some(form),
        } if failure.kind == Kind::Request => streamed::refusal(&failure, form),
        // A client that takes nothing of ours is told so in the older type.
        Acceptable { single, .. } => single::refusal(failure, single.unwrap_or(Media::Json)),
    }
}

fn not_acceptable(message: &str) -> Failure {
    Failure::http(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadUserInput, message)
}
