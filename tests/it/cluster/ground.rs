//! What the tests of the cluster stand on.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use loquat::db::cluster::ClusterSettings;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::support::{eventually, within};

/// A data folder that goes with the test. Everybody may pass through it: as root, PostgreSQL is
/// somebody else.
pub struct DataFolder {
    folder: TempDir,
    name: &'static str,
    pub postgres_bin: Option<PathBuf>,
}

impl DataFolder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        open_to_all(folder.path());
        Self {
            folder,
            name: "data",
            postgres_bin: None,
        }
    }

    pub fn of_postgres(bin: PathBuf) -> Self {
        Self {
            postgres_bin: Some(bin),
            ..Self::new()
        }
    }

    /// The folder that the data folder is in.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// Moves the folder to another path.
    pub fn move_away(&mut self) {
        let before = self.path();
        self.name = "moved";
        fs::rename(before, self.path()).expect("a move");
    }

    pub fn home(&self) -> PathBuf {
        fs::canonicalize(self.path().join("postgres")).expect("a home")
    }

    pub fn settings(&self) -> ClusterSettings {
        ClusterSettings {
            data_dir: self.path(),
            postgres_bin: self.postgres_bin.clone(),
        }
    }

    /// The process of the cluster, as PostgreSQL itself wrote it down.
    pub fn postmaster(&self) -> i32 {
        let text = fs::read_to_string(self.pid_file()).expect("a running cluster");
        let line = text.lines().next().expect("a process");
        line.parse().expect("a process id")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.home().join("cluster/postmaster.pid")
    }

    /// The guard, which carries the cluster's path in its arguments.
    pub fn guard(&self) -> i32 {
        let cluster = self.home().join("cluster");
        let cluster = cluster.to_str().expect("text");
        processes()
            .find(|pid| {
                let words = command_line(*pid);
                words.contains("loquat-guard") && words.contains(cluster)
            })
            .expect("a guard")
    }
}

pub fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// The `bin` folders of the fetched PostgreSQLs, oldest first.
///
/// Where none could be fetched, the tests that need two majors are left out, but never in CI.
pub fn fetched() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/postgres");
    let mut majors: Vec<u32> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    majors.sort_unstable();
    assert!(
        majors.len() >= 2 || env::var_os("CI").is_none(),
        "CI needs two fetched majors: scripts/fetch.py postgres"
    );
    majors
        .into_iter()
        .map(|major| folder.join(format!("{major}/bin")))
        .collect()
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

pub async fn connect(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret())
        .await
        .expect("the cluster accepts its URL")
}

/// Leaves something to be found again.
pub async fn keep_a_word(url: &SecretString) {
    let mut connection = connect(url).await;
    sqlx::raw_sql("create table kept (word text); insert into kept values ('Grüße')")
        .execute(&mut connection)
        .await
        .expect("kept");
    connection.close().await.expect("closed");
}

pub async fn kept_word(url: &SecretString) -> String {
    let mut connection = connect(url).await;
    let word = sqlx::query_scalar("select word from kept")
        .fetch_one(&mut connection)
        .await
        .expect("a word");
    connection.close().await.expect("closed");
    word
}

/// Every process here.
fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Empty when the process is gone, or has ended and nobody asked how.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

pub fn is_running(pid: i32) -> bool {
    !command_line(pid).is_empty()
}

pub async fn gone(pid: i32) {
    eventually("a process is gone", async || {
        (!is_running(pid)).then_some(())
    })
    .await;
}

pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("a signal is sent");
}

/// The real program, on a data folder.
pub struct Server {
    process: Child,
    /// Kept open, so that the program can go on writing.
    _output: BufReader<ChildStdout>,
}

impl Server {
    pub async fn start(data: &DataFolder) -> Self {
        Self::run(program(Path::new(env!("CARGO_BIN_EXE_loquat")), data)).await
    }

    pub async fn run(mut command: Command) -> Self {
        let mut process = command.spawn().expect("the program runs");
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        let mut first_output = String::new();
        within("the server is up", async {
            while !first_output.contains("-> DATABASE_URL") {
                let read = output.read_line(&mut first_output).await.expect("text");
                assert_ne!(read, 0, "{first_output}");
            }
        })
        .await;
        Self {
            process,
            _output: output,
        }
    }

    pub fn pid(&self) -> i32 {
        let id = self.process.id().expect("still running");
        i32::try_from(id).expect("a process id")
    }

    pub async fn ended(mut self) -> Option<i32> {
        within("the server ends", self.process.wait())
            .await
            .expect("an end")
            .code()
    }
}

/// The program in a folder that is not the data folder, with no environment of the test's.
pub fn program(executable: &Path, data: &DataFolder) -> Command {
    let mut command = Command::new(executable);
    command
        .env_clear()
        .env("LOQUAT_BIND", "127.0.0.1:0")
        .env("LOQUAT_DATA_DIR", data.path())
        .current_dir(data.around())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(bin) = &data.postgres_bin {
        command.env("LOQUAT_POSTGRES_BIN", bin);
    }
    command
}
