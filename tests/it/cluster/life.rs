//! A cluster that nothing happens to: made, used, moved, upgraded.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use loquat::db::cluster::{Cluster, attach};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::ground::{DataFolder, connect, fetched, gone, keep_a_word, kept_word};

#[tokio::test]
async fn a_cluster_is_made_stopped_and_found_again_by_every_major() {
    let mut folders = vec![DataFolder::new()];
    folders.extend(fetched().into_iter().map(DataFolder::of_postgres));
    for data in folders {
        let cluster = Cluster::start(&data.settings()).await.expect("a start");
        keep_a_word(cluster.url()).await;
        let postmaster = data.postmaster();
        cluster.stop().await.expect("a stop");
        gone(postmaster).await;
        assert!(!data.pid_file().exists());

        let cluster = Cluster::start(&data.settings()).await.expect("a start");
        assert_eq!(kept_word(cluster.url()).await, "Grüße");
        cluster.stop().await.expect("a stop");
    }
}

#[tokio::test]
async fn a_cluster_is_durable_private_and_speaks_every_language() {
    for bin in fetched() {
        let data = DataFolder::of_postgres(bin);
        let cluster = Cluster::start(&data.settings()).await.expect("a start");
        let mut connection = connect(cluster.url()).await;
        for (setting, value) in [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("data_checksums", "on"),
            ("listen_addresses", ""),
            ("server_encoding", "UTF8"),
            ("password_encryption", "scram-sha-256"),
            ("unix_socket_permissions", "0700"),
            ("TimeZone", "UTC"),
        ] {
            let is: String = sqlx::query_scalar("select current_setting($1)")
                .bind(setting)
                .fetch_one(&mut connection)
                .await
                .expect("a setting");
            assert_eq!(is, value, "{setting}");
        }
        let upper: String = sqlx::query_scalar("select upper('straße, ægir, привет')")
            .fetch_one(&mut connection)
            .await
            .expect("a text");
        assert!(upper.contains("ÆGIR, ПРИВЕТ"), "{upper}");
        let database: String = sqlx::query_scalar("select current_database()::text")
            .fetch_one(&mut connection)
            .await
            .expect("a name");
        assert_eq!(database, "loquat");
        connection.close().await.expect("closed");

        let mut guess = url::Url::parse(cluster.url().expose_secret()).expect("a URL");
        guess.set_password(Some("guess")).expect("a host");
        let refused = PgConnection::connect(guess.as_str()).await;
        assert!(refused.is_err(), "any password opens the cluster");
        assert!(!format!("{cluster:?}").contains(&password(cluster.url())));

        for file in ["password", "lock", "log"] {
            let mode = fs::metadata(data.home().join(file))
                .expect("a file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let (_, folder) = guess
            .query_pairs()
            .find(|(name, _)| name == "host")
            .expect("a socket");
        let mode = fs::metadata(&*folder)
            .expect("a folder")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");

        let folder = folder.into_owned();
        cluster.stop().await.expect("a stop");
        assert!(
            !fs::exists(&folder).expect("known"),
            "{folder} is left behind"
        );
    }
}

fn password(url: &SecretString) -> String {
    let url = url::Url::parse(url.expose_secret()).expect("a URL");
    url.password().expect("a password").to_owned()
}

#[tokio::test]
async fn a_second_server_is_refused_and_a_command_uses_the_first_ones_cluster() {
    let data = DataFolder::new();
    assert!(attach(&data.settings()).await.expect("an answer").is_none());
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;

    let refusal = Cluster::start(&data.settings()).await.expect_err("taken");
    assert_eq!(
        refusal.to_string(),
        format!(
            "LOQUAT_DATA_DIR: {} is in use by another loquat (process {}); stop that one, or give \
             this one a folder of its own",
            data.home().display(),
            std::process::id()
        )
    );
    let url = attach(&data.settings())
        .await
        .expect("an answer")
        .expect("a running cluster");
    assert_eq!(kept_word(&url).await, "Grüße");

    cluster.stop().await.expect("a stop");
    assert!(attach(&data.settings()).await.expect("an answer").is_none());
}

#[tokio::test]
async fn of_several_starts_at_once_on_a_fresh_folder_one_wins() {
    let data = DataFolder::new();
    let settings = data.settings();
    let (first, second, third) = tokio::join!(
        Cluster::start(&settings),
        Cluster::start(&settings),
        Cluster::start(&settings)
    );
    let mut running = Vec::new();
    for start in [first, second, third] {
        match start {
            Ok(cluster) => running.push(cluster),
            Err(error) => assert!(error.to_string().contains("is in use by"), "{error}"),
        }
    }
    assert_eq!(running.len(), 1);
    for cluster in running {
        cluster.stop().await.expect("a stop");
    }
}

#[tokio::test]
async fn a_folder_can_be_moved_and_have_a_long_name() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");

    let long = data.around().join("long ".repeat(40));
    fs::create_dir(&long).expect("a folder");
    let mut moved = data.settings();
    moved.data_dir = long.join("moved");
    fs::rename(data.path(), &moved.data_dir).expect("a move");

    let cluster = Cluster::start(&moved).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn the_command_for_another_major_moves_the_data() {
    let bins = fetched();
    let [older, .., newer] = bins.as_slice() else {
        return;
    };
    let mut data = DataFolder::of_postgres(older.clone());
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    let old_version = cluster.version().to_owned();
    cluster.stop().await.expect("a stop");

    data.postgres_bin = Some(newer.clone());
    let refusal = Cluster::start(&data.settings())
        .await
        .expect_err("another major")
        .to_string();
    assert!(refusal.contains("is of PostgreSQL 16"), "{refusal}");
    assert!(refusal.contains("set LOQUAT_POSTGRES_BIN to"), "{refusal}");
    assert!(!refusal.contains('\n'), "{refusal}");

    // Without a chosen one, a folder keeps its major.
    data.postgres_bin = None;
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    assert_eq!(cluster.version(), old_version);
    cluster.stop().await.expect("a stop");

    let (_, command) = refusal
        .split_once("upgrade the data to 18: ")
        .expect("a command");
    let done = Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("a shell");
    assert!(done.status.success(), "{command}\n{done:?}");
    assert!(data.home().join("cluster-16").exists());
    assert!(!data.home().join("delete_old_cluster.sh").exists());

    data.postgres_bin = Some(newer.clone());
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    assert_eq!(kept_word(cluster.url()).await, "Grüße");
    cluster.stop().await.expect("a stop");
}
