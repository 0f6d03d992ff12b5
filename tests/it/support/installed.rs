//! Programs of the system that stand before a server or behind it.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
};

use rand::Rng;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::eventually;

/// Where the program is. Where it is not, its test is left out, but never in CI.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/usr/sbin", "/usr/local/sbin"])
        .map(|folder| PathBuf::from(folder).join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            env::var_os("CI").is_none(),
            "CI needs {program}: scripts/deps.sh"
        );
        eprintln!("left out: {program} is not installed, `make deps` installs it");
    }
    found
}

/// The same of a file in the folder into which `make` fetches programs.
pub fn fetched(program: &str, mend: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(".deps")
        .join(program);
    if file.is_file() {
        return Some(file);
    }
    assert!(env::var_os("CI").is_none(), "CI needs {program}: {mend}");
    eprintln!("left out: {program} is not here, `{mend}` fetches it");
    None
}

/// Ports of loopback on which nothing listens. They lie below those that the system gives out, so
/// that they stay free until somebody is told to listen there.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let mut found: Vec<TcpListener> = Vec::new();
    while found.len() < COUNT {
        let port = rand::rng().random_range(10_000..32_000);
        found.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let ports = found.iter().map(|listener| {
        let address = listener.local_addr().expect("an address");
        address.port()
    });
    ports.collect::<Vec<_>>().try_into().expect("as many")
}

/// A program that listens, for as long as the value lives.
pub struct Listening {
    pub address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Listening {
    /// Waits until it listens on this port of loopback. `folder` is kept for as long.
    pub async fn start(command: &mut Command, port: u16, folder: TempDir) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs");
        let path = folder.path().join("log");
        let child_ended = std::cell::RefCell::new(&mut child);
        eventually("the program listens", || async {
            let ended = child_ended.borrow_mut().try_wait().expect("its state");
            if let Some(status) = ended {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                panic!("{status}: {log}");
            }
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            address,
            _child: child,
            _folder: folder,
        }
    }
}
