use std::{
    cmp::Reverse,
    env, fmt, fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::{
    ClusterError, ClusterSettings,
    account::Account,
    home::{Home, SHARED_FOLDER, make_shared},
    upgrade,
};

/// The oldest PostgreSQL that Loquat's SQL runs on.
const OLDEST_MAJOR: u32 = 15;

/// Where to look for PostgreSQL.
#[derive(Debug)]
pub(super) struct Search {
    /// `LOQUAT_POSTGRES_BIN`: nothing else will do.
    chosen: Option<PathBuf>,
    /// Folders that `make` has fetched an installation into, best first. `bin` stands inside.
    fetched: Vec<PathBuf>,
    /// The system's `bin` folders, best first.
    system: Vec<PathBuf>,
}

/// The programs of one PostgreSQL that the cluster's account can run.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    bin: PathBuf,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) major: u32,
    text: String,
}

impl Search {
    pub(super) fn new(settings: &ClusterSettings) -> Self {
        Self {
            chosen: settings.postgres_bin.clone(),
            fetched: source_folders()
                .iter()
                .flat_map(|folder| by_major(&folder.join(".deps/postgres"), ""))
                .collect(),
            system: [
                by_major(Path::new("/usr/lib/postgresql"), ""),
                by_major(Path::new("/usr"), "pgsql-"),
                by_major(Path::new("/opt/homebrew/opt"), "postgresql@"),
                by_major(Path::new("/usr/local/opt"), "postgresql@"),
            ]
            .into_iter()
            .flatten()
            .map(|folder| folder.join("bin"))
            .chain(on_path())
            .collect(),
        }
    }

    /// Every PostgreSQL that is there and new enough, lazily, best first.
    async fn first(
        &self,
        account: &Account,
        major: Option<u32>,
    ) -> Result<Option<Binaries>, ClusterError> {
        let wanted = |version: &Version| match major {
            Some(major) => version.major == major,
            None => version.major >= OLDEST_MAJOR,
        };
        for folder in &self.fetched {
            let bin = folder.join("bin");
            if let Some(binaries) = Binaries::probe(&bin, account).await {
                if wanted(&binaries.version) {
                    return Ok(Some(binaries));
                }
            } else if account.is_other()
                && let Some(version) = version_of(&bin.join("postgres"), &Account::this()?).await
                && wanted(&version)
            {
                let copy = copy_where_reachable(folder, &version)?;
                return Ok(Binaries::probe(&copy.join("bin"), account).await);
            }
        }
        for bin in &self.system {
            if let Some(binaries) = Binaries::probe(bin, account).await
                && wanted(&binaries.version)
            {
                return Ok(Some(binaries));
            }
        }
        Ok(None)
    }
}

impl Binaries {
    /// Those of the cluster's major, or the first that are new enough.
    pub(super) async fn choose(home: &Home, search: &Search) -> Result<Self, ClusterError> {
        let account = home.account();
        let major = home.major()?;
        let found = match &search.chosen {
            Some(bin) => Some(Self::chosen(bin, account).await?),
            None => search.first(account, major).await?,
        };
        match (found, major) {
            (Some(found), Some(major)) if found.version.major != major => {
                let old = search.first(account, Some(major)).await?;
                Err(upgrade::error(
                    home,
                    major,
                    old.as_ref(),
                    Some(&found),
                    true,
                ))
            }
            (Some(found), _) => Ok(found),
            (None, Some(major)) => {
                let newer = search.first(account, None).await?;
                Err(upgrade::error(home, major, None, newer.as_ref(), false))
            }
            (None, None) => Err(ClusterError::NoPostgres),
        }
    }

    async fn chosen(bin: &Path, account: &Account) -> Result<Self, ClusterError> {
        let wrong = |problem: String, mend| ClusterError::ChosenBinaries {
            bin: bin.to_owned(),
            problem,
            mend,
        };
        for program in ["postgres", "initdb"] {
            if !bin.join(program).is_file() {
                return Err(wrong(
                    format!("holds no `{program}`"),
                    "name the folder that holds PostgreSQL's `postgres` and `initdb`, or unset it",
                ));
            }
        }
        match Self::probe(bin, account).await {
            Some(found) if found.version.major < OLDEST_MAJOR => Err(wrong(
                format!("is PostgreSQL {}", found.version),
                "name a PostgreSQL 15 or newer",
            )),
            Some(found) => Ok(found),
            None => Err(wrong(
                format!("does not run as the user {}", account.name()),
                "put a complete PostgreSQL where that user can get to it",
            )),
        }
    }

    /// The PostgreSQL in a folder, if it is complete and the account can run it.
    async fn probe(bin: &Path, account: &Account) -> Option<Self> {
        let version = version_of(&bin.join("postgres"), account).await?;
        // It also says where its templates are, which come in a package of their own.
        let told = account
            .command(bin.join("initdb"))
            .args(["--show", "--locale=C", "--pgdata=/nowhere"])
            .output()
            .await
            .ok()?;
        let told = String::from_utf8(told.stderr).ok()?;
        let templates = told
            .lines()
            .find_map(|line| line.strip_prefix("POSTGRES_BKI="))?;
        Path::new(templates).is_file().then(|| Self {
            bin: bin.to_owned(),
            version,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    pub(super) fn bin(&self) -> &Path {
        &self.bin
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }
}

impl Version {
    /// Reads `postgres (PostgreSQL) 18.4`, and what distributions make of it.
    fn parse(text: &str) -> Option<Self> {
        let text = text
            .split_once("(PostgreSQL)")?
            .1
            .split_whitespace()
            .next()?;
        let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self {
            major: digits.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

async fn version_of(postgres: &Path, account: &Account) -> Option<Version> {
    let said = account
        .command(postgres)
        .arg("--version")
        .output()
        .await
        .ok()?;
    Version::parse(&String::from_utf8(said.stdout).ok()?)
}

/// The source folders whose `.deps` may hold a fetched PostgreSQL: the one that this program was
/// built in, wherever it was moved to since, and the one that it was built from.
fn source_folders() -> Vec<PathBuf> {
    let program = env::current_exe().unwrap_or_default();
    let around = program
        .ancestors()
        .find(|folder| folder.ends_with("target"))
        .and_then(Path::parent)
        .map(Path::to_owned);
    let mut folders: Vec<PathBuf> = around.into_iter().collect();
    folders.push(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    folders.dedup();
    folders
}

/// The folders in `folder` that are named after a major version, newest first.
fn by_major(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path()))
        })
        .collect();
    found.sort_by_key(|(major, _)| Reverse(*major));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The folders of the `postgres` programs on the path, where they really are: a link to one of
/// them has no `initdb` beside it, or that of another version.
fn on_path() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok())
        .filter_map(|program| Some(program.parent()?.to_owned()))
        .collect()
}

/// Copies a fetched installation, which stands in a folder that only root can enter, to one that
/// everybody can, and answers where it is.
fn copy_where_reachable(installation: &Path, version: &Version) -> Result<PathBuf, ClusterError> {
    let shared = Path::new(SHARED_FOLDER).join("postgres");
    let place = shared.join(version.to_string());
    if place.exists() {
        return Ok(place);
    }
    let unfinished = shared.join(format!("{version}.{}", std::process::id()));
    let copied = make_shared(Path::new(SHARED_FOLDER))
        .and_then(|()| make_shared(&shared))
        .and_then(|()| copy_tree(installation, &unfinished))
        .and_then(|()| match fs::rename(&unfinished, &place) {
            // Another start has copied it in the meantime.
            Err(_) if place.exists() => fs::remove_dir_all(&unfinished),
            other => other,
        });
    match copied {
        Ok(()) => {
            tracing::info!(folder = %place.display(), "copied PostgreSQL to where its user can get to it");
            Ok(place)
        }
        Err(cause) => Err(ClusterError::CopyBinaries { path: place, cause }),
    }
}

/// Everybody may read the copy, whatever the mask was when it was fetched.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
            let mode = entry.metadata()?.permissions().mode();
            let everybody = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            fs::set_permissions(&target, fs::Permissions::from_mode(everybody))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        for (text, major, shown) in [
            ("postgres (PostgreSQL) 18.4\n", 18, "18.4"),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                15,
                "15.18",
            ),
            ("postgres (PostgreSQL) 19beta1\n", 19, "19beta1"),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!(
                (version.major, version.to_string().as_str()),
                (major, shown)
            );
        }
        assert_eq!(Version::parse("psql: not found"), None);
    }
}
