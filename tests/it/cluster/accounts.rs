//! As whom PostgreSQL runs: never as root.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

use loquat::db::cluster::Cluster;
use nix::{sys::signal::Signal, unistd::User};

use super::ground::{
    DataFolder, Server, fetched, is_root, keep_a_word, kept_word, open_to_all, program, signal,
};

#[tokio::test]
async fn postgres_and_its_guard_are_never_root() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    for pid in [data.postmaster(), data.guard()] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = |name| {
            status
                .lines()
                .find_map(|line: &str| line.strip_prefix(name))
                .expect("a line")
                .split_whitespace()
                .map(|id| id.parse::<u32>().expect("an id"))
                .collect::<Vec<_>>()
        };
        assert!(!line("Uid:").contains(&0), "{status}");
        if is_root() {
            assert!(line("Groups:").is_empty(), "{status}");
        }
    }
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn root_keeps_the_cluster_where_its_user_can_get_to_it() {
    if !is_root() {
        return;
    }
    let data = DataFolder::new();
    fs::set_permissions(data.around(), Permissions::from_mode(0o700)).expect("permissions");
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    let home = cluster.folder().to_owned();
    cluster.stop().await.expect("a stop");
    assert!(home.starts_with("/var/lib/loquat"), "{}", home.display());

    // The link is found again, and the folder of the link can be moved.
    let mut moved = data.settings();
    moved.data_dir = data.around().join("moved");
    fs::rename(data.path(), &moved.data_dir).expect("a move");
    let cluster = Cluster::start(&moved).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    cluster.stop().await.expect("a stop");
    fs::remove_dir_all(&home).expect("removed");
}

#[tokio::test]
async fn a_cluster_that_its_user_cannot_get_to_any_more_is_refused_with_the_mend() {
    if !is_root() {
        return;
    }
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");

    fs::set_permissions(data.around(), Permissions::from_mode(0o700)).expect("permissions");
    let line = Cluster::start(&data.settings())
        .await
        .expect_err("out of reach")
        .to_string();
    let (_, mend) = line.split_once("run: ").expect("a mend");
    let done = std::process::Command::new("sh")
        .args(["-c", mend])
        .status()
        .expect("a shell");
    assert!(done.success(), "{line}");

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    let home = cluster.folder().to_owned();
    cluster.stop().await.expect("a stop");
    fs::remove_dir_all(&home).expect("removed");
}

/// Whoever the tests run as: an ordinary user, in a folder of theirs.
#[tokio::test]
async fn an_ordinary_user_runs_a_cluster_which_root_then_runs_as_that_user() {
    if !is_root() {
        return;
    }
    let nobody = User::from_name("nobody").expect("users").expect("nobody");
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let mut data = DataFolder::new();
    // What was fetched stands where the tests can get to it, which need not be so for others.
    let bins = fetched();
    if let Some(newest) = bins.last() {
        let installation = newest.parent().expect("a folder");
        let copy = data.around().join("postgres");
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([installation, &copy])
            .status()
            .expect("cp");
        assert!(done.success());
        data.postgres_bin = Some(copy.join("bin"));
    }
    let executable = data.around().join("loquat");
    fs::copy(env!("CARGO_BIN_EXE_loquat"), &executable).expect("a copy");
    open_to_all(&executable);
    fs::create_dir(data.path()).expect("a folder");
    chown(data.path(), Some(uid), Some(gid)).expect("given away");

    let mut command = program(&executable, &data);
    command.uid(uid).gid(gid);
    let server = Server::run(command).await;
    assert_eq!(fs::metadata(data.home()).expect("a home").uid(), uid);
    signal(server.pid(), Signal::SIGTERM);
    assert_eq!(server.ended().await, Some(0));

    let server = Server::run(program(&executable, &data)).await;
    let postmaster = data.postmaster();
    let owner = fs::metadata(format!("/proc/{postmaster}")).expect("a process");
    assert_eq!(owner.uid(), uid);
    signal(server.pid(), Signal::SIGTERM);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn an_ordinary_user_is_told_whose_the_cluster_is() {
    if !is_root() {
        return;
    }
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    cluster.stop().await.expect("a stop");

    let owner = fs::metadata(data.home()).expect("a home").uid();
    let other = ["nobody", "daemon"]
        .iter()
        .filter_map(|name| User::from_name(name).expect("users"))
        .find(|user| user.uid.as_raw() != owner)
        .expect("somebody else");
    let executable = data.around().join("loquat");
    fs::copy(env!("CARGO_BIN_EXE_loquat"), &executable).expect("a copy");
    open_to_all(&executable);
    let mut command = program(&executable, &data);
    command.uid(other.uid.as_raw()).gid(other.gid.as_raw());
    let output = command.output().await.expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("belongs to") && errors.contains(&format!("chown -R {}", other.name)),
        "{errors}"
    );
}
