//! `/health/live`: the process answers. `/health/ready`: it is worth sending requests to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use crate::{broker::Redis, db::Database, lifecycle::Lifecycle};

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer of the database counts. Anybody may ask, so asking must cost nothing.
const FRESH: Duration = Duration::from_millis(500);

/// What readiness depends on, and what is told beside.
#[derive(Clone)]
pub struct Health {
    database: Database,
    /// Without it everything works, only more slowly between processes.
    redis: Option<Redis>,
    lifecycle: Lifecycle,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    database: &'static str,
    /// Absent where none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    process: &'static str,
}

impl Health {
    pub fn new(database: Database, redis: Option<Redis>, lifecycle: Lifecycle) -> Self {
        Self {
            database,
            redis,
            lifecycle,
            last: Arc::default(),
        }
    }

    /// Whoever asks while somebody else does waits for the same answer.
    async fn database_answers(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((asked, answered)) = *last
            && asked.elapsed() < FRESH
        {
            return answered;
        }
        let answered = matches!(
            timeout(DATABASE_TIMEOUT, self.database.ping()).await,
            Ok(Ok(()))
        );
        *last = Some((Instant::now(), answered));
        answered
    }
}

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(health)
}

async fn live() -> Response {
    fresh(Json(serde_json::json!({ "status": "live" })))
}

async fn ready(State(health): State<Health>) -> Response {
    let answers = health.database_answers().await;
    let draining = health.lifecycle.is_draining();
    let readiness = Readiness {
        status: ready_or_not(answers && !draining),
        database: ready_or_not(answers),
        redis: health
            .redis
            .as_ref()
            .map(|redis| ready_or_not(redis.is_connected())),
        process: if draining { "stopping" } else { "ready" },
    };
    let status = if answers && !draining {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    fresh((status, Json(readiness)))
}

const fn ready_or_not(ready: bool) -> &'static str {
    if ready { "ready" } else { "not ready" }
}

fn fresh(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
