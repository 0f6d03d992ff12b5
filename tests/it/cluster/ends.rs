//! What becomes of the cluster when its server ends in other ways than by a stop.

use std::{fs, process::Stdio};

use loquat::db::cluster::Cluster;
use nix::{
    sys::signal::Signal,
    unistd::{Pid, getpgid},
};
use tokio::process::Command;

use crate::support::eventually;

use super::ground::{
    DataFolder, Server, command_line, gone, is_running, keep_a_word, kept_word, program, signal,
};

#[tokio::test]
async fn a_signal_stops_the_cluster_with_its_server() {
    for sent in [Signal::SIGTERM, Signal::SIGINT] {
        let data = DataFolder::new();
        let server = Server::start(&data).await;
        let (postmaster, guard) = (data.postmaster(), data.guard());
        signal(server.pid(), sent);
        assert_eq!(server.ended().await, Some(0));
        assert!(!is_running(postmaster));
        assert!(!is_running(guard));
        assert!(!data.pid_file().exists());
    }
}

/// The terminal sends a Ctrl-C to the server's process group.
#[tokio::test]
async fn a_ctrl_c_reaches_the_server_alone() {
    let data = DataFolder::new();
    let server = Server::start(&data).await;
    let group = |pid| getpgid(Some(Pid::from_raw(pid))).expect("a group");
    let groups = [data.postmaster(), data.guard()].map(group);
    assert_ne!(groups[0], groups[1]);
    assert!(!groups.contains(&group(server.pid())));
    signal(server.pid(), Signal::SIGTERM);
    server.ended().await;
}

#[tokio::test]
async fn a_kill_of_the_server_leaves_no_postgres_and_loses_nothing() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");

    let server = Server::start(&data).await;
    let (postmaster, guard) = (data.postmaster(), data.guard());
    signal(server.pid(), Signal::SIGKILL);
    server.ended().await;
    gone(postmaster).await;
    gone(guard).await;
    assert!(
        !data.pid_file().exists(),
        "PostgreSQL was not stopped in order"
    );

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_the_first_start_is_forgotten_by_the_next() {
    let data = DataFolder::new();
    let mut server = program(env!("CARGO_BIN_EXE_loquat").as_ref(), &data)
        .spawn()
        .expect("the program runs");
    eventually("initdb is at work", async || {
        let mut files = fs::read_dir(data.path().join("postgres")).ok()?;
        files.find_map(|file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            name.starts_with("unfinished-").then_some(())
        })
    })
    .await;
    server.kill().await.expect("killed");

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_start_at_once_after_a_kill_needs_no_patience() {
    let data = DataFolder::new();
    for _ in 0..3 {
        let server = Server::start(&data).await;
        signal(server.pid(), Signal::SIGKILL);
        server.ended().await;
    }
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    // The guards of the dead have finished, and none has taken this cluster for theirs.
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_postgres_whose_server_and_guard_are_gone_is_ended_by_the_next_start() {
    let mut data = DataFolder::new();
    let server = Server::start(&data).await;
    let postmaster = data.postmaster();
    let guard = data.guard();
    signal(guard, Signal::SIGKILL);
    gone(guard).await;
    signal(server.pid(), Signal::SIGKILL);
    server.ended().await;
    assert!(is_running(postmaster));

    // Even where the folder was moved under it.
    data.move_away();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    gone(postmaster).await;
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_killed_postgres_recovers_in_the_next_start() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    signal(data.postmaster(), Signal::SIGKILL);
    cluster.stop().await.expect("a stop");

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_cluster_that_is_dropped_is_stopped_by_its_guard() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    let (postmaster, guard) = (data.postmaster(), data.guard());
    drop(cluster);
    gone(postmaster).await;
    gone(guard).await;
}

/// After a restart of the machine the process that a file names is somebody else.
#[tokio::test]
async fn an_old_pid_file_harms_neither_the_start_nor_whom_it_names() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    let text = fs::read_to_string(data.pid_file()).expect("a file");
    cluster.stop().await.expect("a stop");

    let mut innocent = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let pid = innocent.id().expect("running");
    let (_, rest) = text.split_once('\n').expect("lines");
    fs::write(data.pid_file(), format!("{pid}\n{rest}")).expect("written");

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    cluster.stop().await.expect("a stop");
    assert!(innocent.try_wait().expect("known").is_none());
}

#[tokio::test]
async fn a_command_beside_a_server_uses_its_cluster_and_alone_its_own() {
    let data = DataFolder::new();
    let migrate = || {
        let mut command = program(env!("CARGO_BIN_EXE_loquat").as_ref(), &data);
        command.args(["migrate", "status"]);
        command
    };
    let alone = migrate().output().await.expect("an end");
    assert!(alone.status.success(), "{alone:?}");
    assert!(String::from_utf8_lossy(&alone.stdout).contains("0001 roles pending"));
    assert!(!data.pid_file().exists());

    let server = Server::start(&data).await;
    let postmaster = data.postmaster();
    let beside = migrate().output().await.expect("an end");
    assert!(beside.status.success(), "{beside:?}");
    assert!(String::from_utf8_lossy(&beside.stdout).contains("0001 roles applied"));
    assert!(command_line(postmaster).contains("postgres"));
    signal(server.pid(), Signal::SIGTERM);
    assert_eq!(server.ended().await, Some(0));
}
