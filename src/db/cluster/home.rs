use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::OFlag;
use secrecy::SecretString;
use tokio::time::sleep;

use super::{ClusterError, account::Account};

/// What root keeps where PostgreSQL's user can get to it: clusters and programs.
pub(super) const SHARED_FOLDER: &str = "/var/lib/loquat";

/// How often, and how long in all, a lock is tried: a command that only looks holds it briefly.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A log that has grown beyond this many bytes is put aside at the next start.
const LOG_LIMIT: u64 = 8 << 20;

/// The folder of one cluster and what belongs to it.
///
/// PostgreSQL's user owns it, so where the server is root it never follows a link in it.
#[derive(Debug)]
pub(super) struct Home {
    /// Without links.
    path: PathBuf,
    account: Account,
}

impl Home {
    /// The home in a data folder, made where there is none.
    pub(super) async fn open(data_dir: &Path) -> Result<Self, ClusterError> {
        if let Some(home) = Self::find(data_dir)? {
            home.must_be_reachable().await?;
            return Ok(home);
        }
        fs::create_dir_all(data_dir).map_err(failed("making", data_dir))?;
        let link = data_dir.join("postgres");
        let account = Account::choose(None)?;
        match make_folder(&link, &account) {
            Ok(()) => {}
            // Another server was faster; the lock decides between them.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("making", &link)(error)),
        }
        let path = fs::canonicalize(&link).map_err(failed("opening", &link))?;
        if account.is_other() && !account.can_write_to(&path).await {
            return Self::make_elsewhere(&link, account);
        }
        Ok(Self { path, account })
    }

    /// The home in a data folder, if there is one.
    pub(super) fn find(data_dir: &Path) -> Result<Option<Self>, ClusterError> {
        let link = data_dir.join("postgres");
        let path = match fs::canonicalize(&link) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match fs::read_link(&link) {
                    Ok(target) => Err(ClusterError::DanglingLink { link, target }),
                    Err(_) => Ok(None),
                };
            }
            Err(error) => return Err(failed("opening", &link)(error)),
        };
        let account = Account::choose(Some(&path))?;
        Ok(Some(Self { path, account }))
    }

    /// Puts the home where PostgreSQL's user can get to it, and a link where it was looked for.
    fn make_elsewhere(link: &Path, account: Account) -> Result<Self, ClusterError> {
        let shared = Path::new(SHARED_FOLDER);
        let path = shared.join(hex::encode(rand::random::<[u8; 8]>()));
        make_shared(shared).map_err(failed("making", shared))?;
        make_folder(&path, &account).map_err(failed("making", &path))?;
        // Only an empty folder goes, such as the one that was just made.
        fs::remove_dir(link).map_err(failed("replacing", link))?;
        symlink(&path, link).map_err(failed("linking", link))?;
        tracing::info!(
            folder = %path.display(),
            "the private database is kept where its user can get to it"
        );
        Ok(Self { path, account })
    }

    async fn must_be_reachable(&self) -> Result<(), ClusterError> {
        if !self.account.is_other() {
            return Ok(());
        }
        // Left by a start that was cut off between making it and giving it away.
        self.account
            .own_folder(&self.path)
            .map_err(failed("giving away", &self.path))?;
        if self.account.can_write_to(&self.path).await {
            return Ok(());
        }
        let place = Path::new(SHARED_FOLDER).join(hex::encode(rand::random::<[u8; 8]>()));
        let (path, place) = (self.path.display(), place.display());
        Err(ClusterError::Unreachable {
            path: self.path.clone(),
            account: self.account.name().to_owned(),
            mend: format!(
                "mkdir -p {SHARED_FOLDER} && mv '{path}' {place} && ln -s {place} '{path}'"
            ),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// PostgreSQL's data folder.
    pub(super) fn cluster(&self) -> PathBuf {
        self.path.join("cluster")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The major version of the cluster; `None`: there is no cluster yet.
    pub(super) fn major(&self) -> Result<Option<u32>, ClusterError> {
        let path = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(failed("reading", &path)(ErrorKind::InvalidData.into())),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading", &path)(error)),
        }
    }

    /// Makes the caller the only server of this home, for as long as the file is open.
    pub(super) async fn lock(&self) -> Result<File, ClusterError> {
        let path = self.lock_file();
        let mut file = self.file(
            &path,
            OpenOptions::new().read(true).write(true).create(true),
        )?;
        for _ in 0..LOCK_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0)
                        .and_then(|()| file.rewind())
                        .and_then(|()| write!(file, "{}", std::process::id()))
                        .map_err(failed("writing", &path))?;
                    return Ok(file);
                }
                Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(failed("locking", &path)(error)),
            }
        }
        Err(ClusterError::InUse {
            folder: self.path.clone(),
            process: fs::read_to_string(&path)
                .ok()
                .and_then(|text| text.parse().ok()),
        })
    }

    /// Whether a server has the lock.
    pub(super) fn is_locked(&self) -> Result<bool, ClusterError> {
        let path = self.lock_file();
        let file = match OpenOptions::new().read(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("opening", &path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed("locking", &path)(error)),
        }
    }

    /// The superuser's password; a new one as long as there is no cluster.
    pub(super) fn password(&self) -> Result<SecretString, ClusterError> {
        let path = self.password_file();
        let mut text = String::new();
        if self.major()?.is_none() {
            text = hex::encode(rand::random::<[u8; 32]>());
            self.file(
                &path,
                OpenOptions::new().write(true).create(true).truncate(true),
            )?
            .write_all(text.as_bytes())
            .map_err(failed("writing", &path))?;
        } else if path.exists() {
            self.file(&path, OpenOptions::new().read(true))?
                .read_to_string(&mut text)
                .map_err(failed("reading", &path))?;
        } else {
            return Err(ClusterError::NoPassword {
                path: self.path.clone(),
            });
        }
        Ok(SecretString::from(text.trim()))
    }

    /// The log, to be appended to, and how long it is.
    pub(super) fn open_log(&self) -> Result<(File, u64), ClusterError> {
        let path = self.log();
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
            fs::rename(&path, self.path.join("log.old")).map_err(failed("renaming", &path))?;
        }
        let file = self.file(&path, OpenOptions::new().append(true).create(true))?;
        let length = file.metadata().map_err(failed("reading", &path))?.len();
        Ok((file, length))
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// A file of PostgreSQL's user that nobody else reads.
    fn file(&self, path: &Path, options: &OpenOptions) -> Result<File, ClusterError> {
        let file = options
            .clone()
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)
            .map_err(failed("opening", path))?;
        self.account
            .own_file(&file)
            .map_err(failed("giving away", path))?;
        Ok(file)
    }
}

/// Says what could not be done to a path in the data folder.
pub(super) fn failed(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |cause| ClusterError::Folder {
        operation,
        path,
        cause,
    }
}

/// Makes a folder of root's that everybody can enter, whatever root's mask is.
pub(super) fn make_shared(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn make_folder(path: &Path, account: &Account) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    account.own_folder(path)
}
