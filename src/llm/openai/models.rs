//! Which models a server offers, for somebody who sets one up. Not every server says.

use std::time::Duration;

use async_openai::config::Config;
use bytes::BytesMut;
use http::StatusCode;
use serde::Deserialize;
use tokio::time::timeout;

use super::OpenAi;

/// The whole question, from the connection to the last byte.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Servers that resell others' models list hundreds, of a kilobyte each.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Each text is one line, without an address or a key.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("it cannot be reached ({0})")]
    Unreachable(String),
    #[error("it refuses the key ({0})")]
    KeyRefused(StatusCode),
    #[error("it does not list its models ({0})")]
    NotListed(String),
}

impl OpenAi {
    /// The ids of the models that the server lists.
    pub async fn models(&self) -> Result<Vec<String>, ModelsError> {
        timeout(TIME_LIMIT, self.ask_models())
            .await
            .unwrap_or_else(|_| {
                Err(ModelsError::Unreachable(format!(
                    "no answer within {} seconds",
                    TIME_LIMIT.as_secs()
                )))
            })
    }

    async fn ask_models(&self) -> Result<Vec<String>, ModelsError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let endpoint = &self.shared.endpoint;
        let mut response = self
            .shared
            .http
            .get(endpoint.url("/models"))
            .headers(endpoint.headers())
            .send()
            .await
            .map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(ModelsError::KeyRefused(status));
            }
            status => return Err(ModelsError::NotListed(status.to_string())),
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(ModelsError::NotListed("its list is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<List>(&body) {
            Ok(list) => Ok(list.data.into_iter().map(|model| model.id).collect()),
            Err(_) => Err(ModelsError::NotListed(
                "its answer is not a list of models".to_owned(),
            )),
        }
    }
}

/// The innermost cause names the fault, and no address.
fn unreachable(error: reqwest::Error) -> ModelsError {
    let error = error.without_url();
    let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    })
    .last()
    .map(ToString::to_string);
    ModelsError::Unreachable(cause.unwrap_or_default())
}
