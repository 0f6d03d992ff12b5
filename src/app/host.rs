use secrecy::SecretString;

use super::StartError;
use crate::config::Settings;

/// Where the database runs.
#[derive(Debug)]
pub enum DatabaseHost {
    Elsewhere(SecretString),
}

impl DatabaseHost {
    /// Finds the database for the server.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        Ok(Self::Elsewhere(
            settings.database.url.clone().expect("for now"),
        ))
    }

    /// Finds the database for a command.
    pub async fn reach(settings: &Settings) -> Result<Self, StartError> {
        Self::start(settings).await
    }

    pub fn url(&self) -> &SecretString {
        match self {
            Self::Elsewhere(url) => url,
        }
    }

    /// What the private cluster is, for the person who starts the server.
    pub fn private(&self) -> Option<String> {
        None
    }

    /// Stops what was started. The last thing to do: nothing may use the database any more.
    pub async fn stop(self) {}
}
