use std::{fs, os::unix::ffi::OsStrExt};

use super::{
    ClusterError, NAME,
    binaries::Binaries,
    home::{Home, failed},
};

/// What a folder is called in which `initdb` works. The rest of the name is new each time: a
/// server that was killed may have left an `initdb` behind that still writes into its own.
const UNFINISHED: &str = "unfinished-";

/// Makes the cluster of a home. Until all of it is there, it has another name: a start that is cut
/// off leaves nothing that looks like a cluster.
pub(super) async fn run(home: &Home, binaries: &Binaries) -> Result<(), ClusterError> {
    tracing::info!(folder = %home.path().display(), "making the private database");
    remove_unfinished(home);
    let mut refusal = String::new();
    for locale in locales(binaries.version().major) {
        let name = format!("{UNFINISHED}{}", hex::encode(rand::random::<[u8; 4]>()));
        let unfinished = home.path().join(name);
        let program = binaries.program("initdb");
        let done = home
            .account()
            .command(&program)
            .arg("--pgdata")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(home.password_file())
            .args(options())
            .args(*locale)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|cause| ClusterError::Run { program, cause })?;
        if done.status.success() {
            let cluster = home.cluster();
            return fs::rename(&unfinished, &cluster).map_err(failed("making", &cluster));
        }
        let errors = String::from_utf8_lossy(&done.stderr);
        refusal = reason(&errors);
        if !errors.contains("locale") {
            break;
        }
    }
    Err(ClusterError::Initdb { reason: refusal })
}

/// What cannot be removed is in nobody's way.
fn remove_unfinished(home: &Home) {
    for entry in fs::read_dir(home.path()).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .as_bytes()
            .starts_with(UNFINISHED.as_bytes())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What every cluster is made with; the data of an upgrade too.
pub(super) fn options() -> [String; 5] {
    [
        format!("--username={NAME}"),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--data-checksums".to_owned(),
        "--no-instructions".to_owned(),
    ]
}

/// The locales to try, best first: text is ordered by code point, letters of every language have
/// an upper and a lower case. From 17 on PostgreSQL brings it along; before, the system may or may
/// not have it.
pub(super) fn locales(major: u32) -> &'static [&'static [&'static str]] {
    if major >= 17 {
        &[&[
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ]]
    } else {
        &[
            &["--locale=C.UTF-8"],
            &["--locale=en_US.UTF-8"],
            &["--locale=C"],
        ]
    }
}

/// The line of initdb's output that says what went wrong.
fn reason(errors: &str) -> String {
    let line = errors
        .lines()
        .find(|line| line.contains("error:") || line.contains("FATAL:"))
        .or_else(|| errors.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("it says nothing");
    line.trim().to_owned()
}
