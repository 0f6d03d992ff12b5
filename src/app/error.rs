use std::{io, net::SocketAddr};

use crate::{
    auth::AuthSetupError,
    config::{Origin, Settings, names},
    db::{DatabaseSetupError, DbError, cluster::ClusterError},
    http::graphql::ManifestError,
    llm::openai::OpenAiError,
};

/// Why the server does not start. Each text is one line that names the setting, as its user wrote
/// it, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "{setting}: cannot listen on {address} ({source}); stop what listens there, or choose \
         another address or port"
    )]
    Listen {
        setting: Origin,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{setting}: {source}")]
    Database {
        setting: Origin,
        source: DatabaseSetupError,
    },
    #[error("{setting}: {source}")]
    Documents {
        setting: Origin,
        source: ManifestError,
    },
    #[error("the key that the processes of this database share cannot be read: {0}")]
    BrokerKey(#[source] DbError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    SignIn(#[from] AuthSetupError),
    #[error("the model's server: {0}")]
    Provider(#[source] OpenAiError),
}

impl StartError {
    /// Names the setting that chose the database.
    pub fn database(settings: &Settings, source: DatabaseSetupError) -> Self {
        let origins = &settings.origins;
        Self::Database {
            setting: origins
                .written(&names::DATABASE_URL)
                .or_else(|| origins.written(&names::SUPABASE_DB_URL))
                .unwrap_or_else(|| origins.of(&names::DATA_DIR)),
            source,
        }
    }

    pub fn documents(settings: &Settings, source: ManifestError) -> Self {
        Self::Documents {
            setting: settings.origins.of(&names::TRUSTED_DOCUMENTS),
            source,
        }
    }
}
