use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin},
    time::timeout,
};

use super::{ClusterError, home::Home};

const SHELL: &str = "/bin/sh";

/// How long a dismissed guard may take.
const DISMISSAL: Duration = Duration::from_secs(5);

/// Reads from its pipe the process to watch. When the pipe closes without a dismissal, the server
/// is gone: PostgreSQL is stopped, unless the cluster has another one by now. $1 is the cluster,
/// $2 the folder of the socket.
const SCRIPT: &str = r#"
pid=
while read -r line; do
  case $line in
    dismissed) exit 0 ;;
    *) pid=$line ;;
  esac
done
runs() {
  read -r first <"$1/postmaster.pid" && [ "$first" = "$pid" ] && kill -0 "$pid"
}
if [ -n "$pid" ]; then
  waited=0
  # It may have been started this very moment and not have written its file yet.
  while ! runs "$1" && [ $waited -lt 3 ] && kill -0 "$pid"; do
    sleep 1
    waited=$((waited + 1))
  done
  runs "$1" && kill -INT "$pid"
  waited=0
  while runs "$1"; do
    [ $waited -eq 30 ] && kill -QUIT "$pid"
    [ $waited -eq 60 ] && exit 1
    sleep 1
    waited=$((waited + 1))
  done
fi
rmdir "$2"
"#;

/// A process that stops PostgreSQL when the server cannot do so any more.
///
/// It holds the reading end of a pipe, and the server alone the writing end: however the server
/// ends, the system closes it. Its process group is its own, and its user PostgreSQL's.
#[derive(Debug)]
pub(super) struct Guard {
    process: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Before PostgreSQL: a PostgreSQL without a guard is what must not be.
    pub(super) fn start(home: &Home, socket_folder: &Path) -> Result<Self, ClusterError> {
        let mut process = home
            .account()
            .command(SHELL)
            .args(["-c", SCRIPT, "loquat-guard"])
            .arg(home.cluster())
            .arg(socket_folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|cause| ClusterError::Run {
                program: PathBuf::from(SHELL),
                cause,
            })?;
        let pipe = process.stdin.take().expect("its input is a pipe");
        Ok(Self { process, pipe })
    }

    pub(super) async fn watch(&mut self, pid: i32) -> Result<(), ClusterError> {
        self.say(&pid.to_string())
            .await
            .map_err(|cause| ClusterError::Run {
                program: PathBuf::from(SHELL),
                cause,
            })
    }

    /// PostgreSQL has stopped; there is nothing left to guard.
    pub(super) async fn dismiss(mut self) {
        // A guard that somebody killed has no use for the word.
        let _ = self.say("dismissed").await;
        if timeout(DISMISSAL, self.process.wait()).await.is_err() {
            tracing::warn!("the guard of the private database did not end in time");
        }
    }

    async fn say(&mut self, word: &str) -> std::io::Result<()> {
        self.pipe.write_all(format!("{word}\n").as_bytes()).await?;
        self.pipe.flush().await
    }
}
