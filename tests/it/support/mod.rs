//! What the integration tests stand on: a database of their own, a model whose words they say
//! themselves, and replicas of the chat.

mod api;
mod blindfold;
mod cable;
mod database;
mod gate;
pub mod installed;
mod live;
mod model;
pub mod process;
pub mod program;
pub mod redis;
mod replica;
mod statements;
pub mod stream;
mod wire;

use std::{future::Future, time::Duration};

pub use api::{Api, ample_budget, session_of, text};
pub use blindfold::Blindfold;
pub use cable::Cable;
pub use database::{TOLERANCE, TestDatabase, by_token, identity, sign_in, sign_in_as};
pub use gate::{SqlGate, sql};
pub use live::{
    CONVERSATION, CONVERSATION_EVENTS, LiveConversation, LiveList, VIEWER, VIEWER_EVENTS,
};
pub use model::{Desk, Writing};
pub use replica::{QUICK, Reader, Replica, token};
pub use statements::Statements;

/// How long a test waits for what must happen before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for an event, with a limit.
pub async fn within<F: Future>(what: &str, event: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} in vain until {what}"),
    }
}

/// Asks again until the answer is there, with a limit: for what only the database knows.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    within(what, async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
}

/// Something that is over this soon. Whatever waits for a clock or a time limit does so each time,
/// but what a busy machine has held up is quicker at the next of a few tries.
pub async fn soon(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        quickest = quickest.min(attempt().await);
        if quickest < limit {
            return;
        }
    }
    panic!("{what}, in {quickest:?} at the best and not in {limit:?}");
}
