//! Several operations in one body, where an operator allows it: a list of requests is answered with
//! the list of their answers, in the same order. No draft describes this; it is what Apollo's and
//! urql's batching links send.
//!
//! Each is judged alone, and they run one after another, for a mutation may rely on the one before
//! it. Together they have the cost, the time and the size of the answer that one has.

use async_graphql::parser::types::OperationType;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::{
    Backend, Endpoint,
    endpoint::{Caller, Carrier, Operation},
    failure::{self, Failure},
    media::Media,
    params::Params,
    respond::{self, Payload},
    single,
};
use crate::{graphql::ErrorCode, model::Limit, telemetry::RequestId};

/// After as many bytes of answers no further operation is begun: one answer has at most as much
/// text, so this bounds what a batch holds in memory.
const MOST_BYTES: usize = crate::graphql::MOST_TEXT;

/// A list of as many requests as there may be.
pub(super) fn within(batch: Vec<Value>, most: usize) -> Result<Vec<Value>, Failure> {
    if batch.is_empty() {
        return Err(Failure::malformed("The list of requests is empty."));
    }
    if batch.len() <= most && most > 1 {
        return Ok(batch);
    }
    let message = match most {
        1 => "A body may hold 1 request, and no list of them: send one operation a request."
            .to_owned(),
        _ => format!("A list may hold at most {most} requests: send the others by themselves."),
    };
    Err(Failure::limit(Limit::Batch, most as u64, message))
}

pub(super) async fn answer<B: Backend>(
    endpoint: &Endpoint<B>,
    batch: Vec<Value>,
    caller: Option<&Caller<B>>,
    media: Media,
    id: &RequestId,
) -> Result<Response, Failure> {
    let deadline = endpoint.deadline();
    let mut operations = Vec::with_capacity(batch.len());
    for one in batch {
        operations.push(prepare(endpoint, one, caller).await);
    }
    let costs = operations.iter().flatten().map(|operation| operation.cost);
    if let Err(error) = endpoint.guard.check_together(costs) {
        for operation in operations.iter_mut().filter(|operation| operation.is_ok()) {
            *operation = Err(Failure::request(error.clone()));
        }
    }

    // What all of them were refused for decides the status; what has run is 200.
    let mut refused = None;
    let mut has_run = false;
    let mut body = String::from("[");
    let presence = caller.map(|caller| &caller.presence);
    let so_far = presence.map(|presence| presence.hold(0));
    for operation in operations {
        let payload = match operation {
            Err(failure) => {
                let (kind, retry_after) = (failure.kind, failure.retry_after());
                refused.get_or_insert((kind, retry_after));
                Payload::error(*failure.error)
            }
            Ok(_) if body.len() > MOST_BYTES => Payload::error(*too_long().error),
            Ok(operation) => {
                has_run = true;
                match endpoint.execute(operation, deadline).await {
                    Ok(response) => respond::finish(response, id),
                    Err(unfinished) => Payload::error(*unfinished.into_failure(id).error),
                }
            }
        };
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&payload.to_json());
        if let Some(so_far) = &so_far {
            so_far.set(body.len());
        }
    }
    body.push(']');
    Ok(match refused {
        Some((kind, retry_after)) if !has_run => single::refused(kind, retry_after, body, media),
        _ => {
            let body = single::counted(body, presence);
            single::respond_with(StatusCode::OK, body, media)
        }
    })
}

async fn prepare<B: Backend>(
    endpoint: &Endpoint<B>,
    one: Value,
    caller: Option<&Caller<B>>,
) -> Result<Operation, Failure> {
    let operation = endpoint
        .prepare(Params::from_json(one)?, Carrier::Post, caller)
        .await?;
    if operation.kind == OperationType::Subscription {
        return Err(Failure::request(*failure::coded(
            ErrorCode::BadUserInput,
            "A subscription has more than one answer: send it by itself.",
        )));
    }
    Ok(operation)
}

fn too_long() -> Failure {
    Failure::limit(
        Limit::AnswerBytes,
        MOST_BYTES as u64,
        "The answers before this one hold more than 16 MiB: send fewer operations at once.",
    )
}
