//! A look at a key set, for somebody who sets up an issuer.

use jsonwebtoken::Algorithm;
use tokio::time::timeout;
use url::Url;

use super::{
    FETCH_TIME_LIMIT,
    fetch::{FetchError, Fetcher},
};

/// What a key set holds, as far as tokens are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySurvey {
    /// Those that can verify a signature, in the order of the set.
    pub usable: Vec<SurveyedKey>,
    /// How many cannot: of another kind, for another use, or broken.
    pub skipped: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedKey {
    pub kid: Option<String>,
    /// Those that its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
}

/// Why there is nothing to look at. One line, from the failure to its innermost cause, without
/// the URL.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SurveyError(String);

/// Fetches a key set once, by the rules of the server, and keeps nothing.
pub async fn survey(url: &Url) -> Result<KeySurvey, SurveyError> {
    let fetcher = Fetcher::new(url).map_err(|error| SurveyError(chain(&error)))?;
    let keys = timeout(FETCH_TIME_LIMIT, fetcher.fetch())
        .await
        .unwrap_or(Err(FetchError::TimeLimit))
        .map_err(|error| SurveyError(chain(&error)))?;
    Ok(KeySurvey {
        usable: keys.survey().collect(),
        skipped: keys.skipped(),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
