//! The server that is measured: a process on a private database, with the demo assistant.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::machine;

/// How long it may take to notice that a crowd has left.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    pub id: u32,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// One that takes so many connections.
    pub async fn start(most_connections: usize) -> Self {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_loquat"))
            .current_dir(folder.path())
            // Whoever runs this may have settings of their own.
            .env_clear()
            .env("LOQUAT_BIND", "127.0.0.1:0")
            .env("LOQUAT_LOG", "warn")
            .env("LOQUAT_MAX_CONNECTIONS", most_connections.to_string())
            .env("LOQUAT_POSTGRES_BIN", postgres())
            .env("LOQUAT_SHUTDOWN_GRACE_SECONDS", "0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let id = child.id().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("text");
            let line = line.expect("it says where it listens");
            if let Some((_, url)) = line.split_once("running on http://") {
                let address = url.split_whitespace().next().unwrap_or_default();
                break address.parse().expect("an address");
            }
        };
        // Warnings go to standard error, which it shares with this process.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            id,
            address,
            _folder: folder,
        }
    }

    pub fn descriptors(&self) -> usize {
        machine::descriptors(self.id)
    }

    /// Waits until it has no more files open than before. How long that took; `None`: too long.
    pub async fn forgets_the_crowd(&self, before: usize) -> Option<Duration> {
        let begun = Instant::now();
        while self.descriptors() > before {
            if begun.elapsed() > PATIENCE {
                return None;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Some(begun.elapsed())
    }

    pub async fn stop(mut self) {
        let id = i32::try_from(self.id).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("a signal");
        drop(self.child.wait().await);
    }
}

/// The newest of those that `make deps` has fetched.
fn postgres() -> String {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/postgres");
    let majors = fs::read_dir(&fetched).expect("make deps");
    let newest = majors
        .filter_map(|major| major.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max();
    let newest = newest.expect("make deps").to_string();
    fetched.join(newest).join("bin").display().to_string()
}
