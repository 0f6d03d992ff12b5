//! The private PostgreSQL cluster: what the server keeps when nobody named a database.
//!
//! A real `initdb` and `postgres`, over a Unix socket only. Invariant: one server owns a cluster,
//! and no `postgres` outlives its server for long. [`Cluster::stop`] ends it; where there was no
//! time for that (a kill -9, a start that was given up), the guard does, and whatever a crash of
//! both has left is ended by the next start.
//!
//! Everything stands in `<data folder>/postgres`, called home here, and nothing in it is an
//! absolute path, so that the data folder can be moved: `cluster` (PostgreSQL's own data folder),
//! `password`, `log` and `lock`. Where the server is root and the user that PostgreSQL runs as
//! cannot get to the data folder, home is a symbolic link into `/var/lib/loquat`.
//!
//! This folder starts and stops a database. It must not know what is in it.

mod account;
mod binaries;
mod error;
mod guard;
mod home;
mod initdb;
mod postmaster;
mod runtime_folder;
mod upgrade;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use binaries::{Binaries, Search};
use guard::Guard;
use home::Home;
use postmaster::Postmaster;
use runtime_folder::RuntimeFolder;

pub use error::ClusterError;

/// The superuser and the database.
const NAME: &str = "loquat";

/// Where the cluster is and what runs it.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// `LOQUAT_DATA_DIR`.
    pub data_dir: PathBuf,
    /// `LOQUAT_POSTGRES_BIN`: the folder of `postgres` and `initdb`. `None`: the cluster's own
    /// major, or the first that is found.
    pub postgres_bin: Option<PathBuf>,
}

/// A running cluster, and the right to it.
///
/// One that is dropped without [`Cluster::stop`] is stopped by its guard.
#[derive(Debug)]
pub struct Cluster {
    url: SecretString,
    version: String,
    home: Home,
    postmaster: Postmaster,
    guard: Guard,
    runtime_folder: RuntimeFolder,
    /// Held, not used: another server cannot have it.
    _lock: File,
}

impl Cluster {
    /// Starts the cluster of the data folder, and makes it first where there is none.
    ///
    /// Returns once connections are accepted and the database exists. Files are read and written
    /// without leaving the thread: nothing is served yet.
    pub async fn start(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let home = Home::open(&settings.data_dir).await?;
        let lock = home.lock().await?;
        let binaries = Binaries::choose(&home, &Search::new(settings)).await?;
        postmaster::end_leftover(&home).await?;
        let password = home.password()?;
        if home.major()?.is_none() {
            initdb::run(&home, &binaries).await?;
        }

        let runtime_folder = RuntimeFolder::make(home.account())?;
        let mut guard = Guard::start(&home, runtime_folder.path())?;
        let postmaster =
            Postmaster::start(&home, &binaries, runtime_folder.path(), &mut guard).await?;
        let cluster = Self {
            url: url(&password, runtime_folder.path(), NAME),
            version: binaries.version().to_string(),
            home,
            postmaster,
            guard,
            runtime_folder,
            _lock: lock,
        };
        let maintenance = url(&password, cluster.runtime_folder.path(), "postgres");
        match create_database(&maintenance).await {
            Ok(()) => Ok(cluster),
            Err(source) => {
                cluster.stop().await?;
                Err(ClusterError::CreateDatabase(source))
            }
        }
    }

    /// A superuser's URL of the cluster's database.
    pub fn url(&self) -> &SecretString {
        &self.url
    }

    /// PostgreSQL's own, such as `18.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the data really is.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Ends the cluster: connections are cut, what was committed is written.
    pub async fn stop(self) -> Result<(), ClusterError> {
        let Self {
            home,
            postmaster,
            guard,
            runtime_folder,
            ..
        } = self;
        postmaster.stop(&home).await?;
        guard.dismiss().await;
        runtime_folder.remove();
        Ok(())
    }
}

/// The URL of the cluster that another process runs on this data folder; `None`: none does.
///
/// Waits for one that is just starting.
pub async fn attach(settings: &ClusterSettings) -> Result<Option<SecretString>, ClusterError> {
    let Some(home) = Home::find(&settings.data_dir)? else {
        return Ok(None);
    };
    let Some(folder) = postmaster::wait_for_owner(&home).await? else {
        return Ok(None);
    };
    Ok(Some(url(&home.password()?, &folder, NAME)))
}

/// Whether the data folder holds a cluster, running or not.
pub fn exists(settings: &ClusterSettings) -> Result<bool, ClusterError> {
    match Home::find(&settings.data_dir)? {
        Some(home) => Ok(home.major()?.is_some()),
        None => Ok(false),
    }
}

/// The host in front of the path is never asked; without one the password would have no place.
fn url(password: &SecretString, socket_folder: &Path, database: &str) -> SecretString {
    let mut url = url::Url::parse("postgres://localhost").expect("the URL is well formed");
    url.set_username(NAME).expect("the URL has a host");
    url.set_password(Some(password.expose_secret()))
        .expect("the URL has a host");
    url.set_path(database);
    url.query_pairs_mut()
        .append_pair("host", &socket_folder.to_string_lossy());
    SecretString::from(url.to_string())
}

async fn create_database(maintenance: &SecretString) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(maintenance.expose_secret()).await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = 'loquat')")
            .fetch_one(&mut connection)
            .await?;
    if !there {
        sqlx::query("create database loquat")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}
