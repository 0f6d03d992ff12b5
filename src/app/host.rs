use secrecy::SecretString;

use super::StartError;
use crate::{
    config::Settings,
    db::cluster::{self, Cluster, ClusterSettings},
};

/// Where the database runs.
#[derive(Debug)]
pub enum DatabaseHost {
    /// Somebody else's to start and to stop: a configured server, or the private cluster of a
    /// loquat that is running.
    Elsewhere(SecretString),
    /// The private cluster, which is this process's own.
    Private(Box<Cluster>),
}

impl DatabaseHost {
    /// For the server: the configured database, or the private cluster, started.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        match &settings.database.url {
            Some(url) => Ok(Self::Elsewhere(url.clone())),
            None => {
                let cluster = Cluster::start(&cluster_settings(settings)).await?;
                Ok(Self::Private(Box::new(cluster)))
            }
        }
    }

    /// For a command: beside a running server its cluster, otherwise as for the server.
    pub async fn reach(settings: &Settings) -> Result<Self, StartError> {
        match Self::running(settings).await? {
            Some(url) => Ok(Self::Elsewhere(url)),
            None => Self::start(settings).await,
        }
    }

    /// For a command that only looks: the same, but makes nothing. `None`: there is no database
    /// yet, the first start will make one.
    pub async fn visit(settings: &Settings) -> Result<Option<Self>, StartError> {
        let is_there =
            settings.database.url.is_some() || cluster::exists(&cluster_settings(settings))?;
        match is_there {
            true => Self::reach(settings).await.map(Some),
            false => Ok(None),
        }
    }

    /// The database as it is, without starting anything. `None`: it does not run.
    pub async fn running(settings: &Settings) -> Result<Option<SecretString>, StartError> {
        match &settings.database.url {
            Some(url) => Ok(Some(url.clone())),
            None => Ok(cluster::attach(&cluster_settings(settings)).await?),
        }
    }

    pub fn url(&self) -> &SecretString {
        match self {
            Self::Elsewhere(url) => url,
            Self::Private(cluster) => cluster.url(),
        }
    }

    /// What the private cluster is, for the person who starts the server.
    pub fn private(&self) -> Option<String> {
        match self {
            Self::Elsewhere(_) => None,
            Self::Private(cluster) => Some(format!(
                "PostgreSQL {} in {}",
                cluster.version(),
                cluster.folder().display()
            )),
        }
    }

    /// Stops what was started. The last thing to do: nothing may use the database any more.
    pub async fn stop(self) {
        if let Self::Private(cluster) = self
            && let Err(error) = cluster.stop().await
        {
            tracing::error!(%error, "the private database did not stop");
        }
    }
}

fn cluster_settings(settings: &Settings) -> ClusterSettings {
    ClusterSettings {
        data_dir: settings.data_dir.clone(),
        postgres_bin: settings.database.postgres_bin.clone(),
    }
}
