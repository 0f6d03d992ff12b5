use std::{
    env, io,
    os::unix::fs::{MetadataExt, fchown, lchown},
    path::Path,
    process::Stdio,
};

use nix::unistd::{Uid, User, geteuid};
use tokio::process::Command;

use super::ClusterError;

/// The users that PostgreSQL may run as when the server is root, which PostgreSQL refuses.
const STAND_INS: [&str; 2] = ["postgres", "nobody"];

const NAMELESS: ClusterError = ClusterError::NoAccount(
    "this process runs as a user id that has no name in /etc/passwd, which PostgreSQL refuses; give \
     it one, or set DATABASE_URL",
);

/// The user that PostgreSQL and the guard run as.
#[derive(Clone, Debug)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
    /// Somebody else than the server itself, which is root then.
    switch: bool,
}

impl Account {
    /// The account for a cluster: its owner where there is one already.
    pub(super) fn choose(home: Option<&Path>) -> Result<Self, ClusterError> {
        if !geteuid().is_root() {
            return Self::own(home);
        }
        let owner = home
            .and_then(|home| home.metadata().ok())
            .map(|metadata| metadata.uid())
            .filter(|uid| *uid != 0);
        if let (Some(uid), Some(home)) = (owner, home) {
            return match user(Uid::from_raw(uid)) {
                Some(user) => Ok(Self::stand_in(user)),
                None => Err(ClusterError::Owner {
                    path: home.to_owned(),
                    owner: format!(
                        "the user id {uid}, which has no name, and PostgreSQL needs one"
                    ),
                    suggestion: Self::first_stand_in()?.name,
                }),
            };
        }
        Self::first_stand_in()
    }

    /// An ordinary user, who is nobody else.
    fn own(home: Option<&Path>) -> Result<Self, ClusterError> {
        let own = Self::this()?;
        if let Some(home) = home
            && let Ok(metadata) = home.metadata()
            && metadata.uid() != own.uid
        {
            return Err(ClusterError::Owner {
                path: home.to_owned(),
                owner: match user(Uid::from_raw(metadata.uid())) {
                    Some(user) => user.name,
                    None => format!("the user id {}", metadata.uid()),
                },
                suggestion: own.name,
            });
        }
        Ok(own)
    }

    /// The user that the server itself runs as.
    pub(super) fn this() -> Result<Self, ClusterError> {
        user(geteuid())
            .map(|user| Self {
                switch: false,
                ..Self::stand_in(user)
            })
            .ok_or(NAMELESS)
    }

    fn first_stand_in() -> Result<Self, ClusterError> {
        STAND_INS
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(Self::stand_in)
            .ok_or(ClusterError::NoAccount(
                "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to \
                 run it as; add one, or start loquat as an ordinary user, or set DATABASE_URL",
            ))
    }

    fn stand_in(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            switch: true,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is somebody else than the user that the server runs as.
    pub(super) fn is_other(&self) -> bool {
        self.switch
    }

    /// A program that runs as this user, in a process group of its own (a Ctrl-C is for the server
    /// alone, which stops the rest in order), and that sees nothing of the server's environment
    /// but where programs and libraries are: there are secrets in it.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .envs(
                ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"]
                    .into_iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if self.switch {
            // This also drops root's supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes this user the owner of a file that the server has made.
    pub(super) fn own_file(&self, file: &std::fs::File) -> io::Result<()> {
        if self.switch {
            fchown(file, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// The same for a folder.
    pub(super) fn own_folder(&self, folder: &Path) -> io::Result<()> {
        if self.switch {
            lchown(folder, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Whether this user can get to a folder (an absolute path) and write there, by trying: permissions, access
    /// lists and read-only mounts all have a say.
    pub(super) async fn can_write_to(&self, folder: &Path) -> bool {
        self.command("/bin/sh")
            .args(["-c", "cd \"$1\" && test -w .", "sh"])
            .arg(folder)
            .stderr(Stdio::null())
            .status()
            .await
            .is_ok_and(|status| status.success())
    }
}

fn user(uid: Uid) -> Option<User> {
    User::from_uid(uid).ok().flatten()
}
