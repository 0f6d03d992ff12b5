use std::{io, path::PathBuf};

/// Why the private cluster cannot be had.
///
/// Each text is one line that says what is wrong and what mends it, causes included, because it
/// is the last line that a person reads before the process ends.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "LOQUAT_DATA_DIR: {} is in use by another loquat{}; stop that one, or give this one a \
         folder of its own",
        folder.display(),
        process.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        folder: PathBuf,
        process: Option<i32>,
    },

    #[error(
        "LOQUAT_DATA_DIR: {operation} {} failed ({cause}); let this user write there, or name \
         another folder",
        path.display()
    )]
    Folder {
        operation: &'static str,
        path: PathBuf,
        cause: io::Error,
    },

    #[error(
        "LOQUAT_DATA_DIR: {} belongs to {owner}; start loquat as that user, or run: chown -R \
         {suggestion} {}",
        path.display(),
        path.display()
    )]
    Owner {
        path: PathBuf,
        owner: String,
        suggestion: String,
    },

    #[error(
        "LOQUAT_DATA_DIR: {} is a link to {}, which is gone; bring that folder back, or remove \
         the link to begin with an empty database",
        link.display(),
        target.display()
    )]
    DanglingLink { link: PathBuf, target: PathBuf },

    #[error(
        "LOQUAT_DATA_DIR: the user {account}, as whom PostgreSQL runs, cannot get to {}; run: \
         {mend}",
        path.display()
    )]
    Unreachable {
        path: PathBuf,
        account: String,
        mend: String,
    },

    #[error(
        "LOQUAT_DATA_DIR: {} lacks its `password` file; bring it back from a copy of the folder",
        path.display()
    )]
    NoPassword { path: PathBuf },

    #[error("{0}")]
    NoAccount(&'static str),

    #[error(
        "no PostgreSQL 15 or newer was found; run `make postgres` in loquat's source folder to \
         fetch one, or install one, or set LOQUAT_POSTGRES_BIN to the folder of its programs, or \
         set DATABASE_URL to use a server of yours"
    )]
    NoPostgres,

    #[error("LOQUAT_POSTGRES_BIN: {} {problem}; {mend}", bin.display())]
    ChosenBinaries {
        bin: PathBuf,
        problem: String,
        mend: &'static str,
    },

    #[error(
        "LOQUAT_DATA_DIR: {} is of PostgreSQL {major}, {found}; set LOQUAT_POSTGRES_BIN to the \
         folder of PostgreSQL {major}'s programs{upgrade}",
        folder.display()
    )]
    OtherMajor {
        folder: PathBuf,
        major: u32,
        found: String,
        upgrade: String,
    },

    #[error(
        "PostgreSQL's programs could not be copied to {} ({cause}), where the user that runs them \
         can get to them; let this user write there, or set LOQUAT_POSTGRES_BIN",
        path.display()
    )]
    CopyBinaries { path: PathBuf, cause: io::Error },

    #[error("{} does not run ({cause}); set LOQUAT_POSTGRES_BIN to a PostgreSQL that does", program.display())]
    Run { program: PathBuf, cause: io::Error },

    #[error("initdb could not make the cluster: {reason}; mend that, or set DATABASE_URL")]
    Initdb { reason: String },

    #[error(
        "a folder for PostgreSQL's socket could not be made in {} ({cause}); set TMPDIR to a \
         folder that this user can write to",
        path.display()
    )]
    RuntimeFolder { path: PathBuf, cause: io::Error },

    #[error(
        "PostgreSQL does not start: {reason}; {} says more",
        log.display()
    )]
    Start { reason: String, log: PathBuf },

    #[error(
        "LOQUAT_DATA_DIR: process {pid} runs PostgreSQL on {} and is not loquat's; stop it",
        folder.display()
    )]
    ForeignPostmaster { pid: i32, folder: PathBuf },

    #[error("PostgreSQL (process {pid}) does not stop; {} says why", log.display())]
    Stop { pid: i32, log: PathBuf },

    #[error(
        "the cluster does not take its own password or may not make its database ({0}); its \
         superuser `loquat` and the file `password` beside the cluster must agree"
    )]
    CreateDatabase(sqlx::Error),
}
