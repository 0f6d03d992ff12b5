use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use super::{ClusterError, account::Account};

/// What PostgreSQL calls its socket; the port is only a part of the name.
const SOCKET: &str = ".s.PGSQL.5432";

/// The longest path that a Unix socket can have, in bytes.
const LONGEST_PATH: usize = 107;

const PREFIX: &str = "loquat-";

/// The folder of the socket: short, whatever the data folder is called, and nobody else's.
#[derive(Debug)]
pub(super) struct RuntimeFolder {
    path: PathBuf,
}

impl RuntimeFolder {
    pub(super) fn make(account: &Account) -> Result<Self, ClusterError> {
        let parent = short_parent(env::temp_dir());
        let path = parent.join(format!(
            "{PREFIX}{}",
            hex::encode(rand::random::<[u8; 8]>())
        ));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| account.own_folder(&path))
            .map_err(|cause| ClusterError::RuntimeFolder {
                path: parent,
                cause,
            })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// PostgreSQL has taken its socket away by now.
    pub(super) fn remove(self) {
        remove(&self.path);
    }
}

/// Removes the socket's folder of a PostgreSQL that is gone.
pub(super) fn remove(path: &Path) {
    let ours = path
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    if !ours {
        return;
    }
    for name in [SOCKET.to_owned(), format!("{SOCKET}.lock")] {
        // Mostly not there any more.
        let _ = fs::remove_file(path.join(name));
    }
    if let Err(error) = fs::remove_dir(path) {
        tracing::debug!(folder = %path.display(), %error, "the socket's folder stays");
    }
}

/// The temporary folder, or `/tmp` where its name is too long, or would have to be quoted in
/// PostgreSQL's list of folders.
fn short_parent(temporary: PathBuf) -> PathBuf {
    let socket = temporary
        .join(format!("{PREFIX}0123456789abcdef"))
        .join(SOCKET);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if socket.as_os_str().len() <= LONGEST_PATH
        && temporary.is_absolute()
        && temporary.as_os_str().as_bytes().iter().all(plain)
    {
        temporary
    } else {
        PathBuf::from("/tmp")
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::short_parent;

    #[test]
    fn a_long_or_relative_temporary_folder_is_passed_over() {
        let fits = PathBuf::from("/var/tmp/of/somebody");
        assert_eq!(short_parent(fits.clone()), fits);
        assert_eq!(short_parent(PathBuf::from("here")), Path::new("/tmp"));
        assert_eq!(
            short_parent(PathBuf::from("/with a space")),
            Path::new("/tmp")
        );
        let long = PathBuf::from(format!("/{}", "x".repeat(70)));
        assert_eq!(short_parent(long), Path::new("/tmp"));
    }
}
