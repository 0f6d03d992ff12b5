//! Starts that fail: one line each, which names what is wrong and what mends it.

use std::{fs, os::unix::fs::symlink};

use loquat::db::cluster::Cluster;

use super::ground::{DataFolder, keep_a_word, program};

async fn refusal(data: &DataFolder) -> String {
    let line = match Cluster::start(&data.settings()).await {
        Ok(_) => panic!("the cluster starts"),
        Err(error) => error.to_string(),
    };
    assert!(!line.contains('\n'), "{line}");
    line
}

#[tokio::test]
async fn a_chosen_folder_without_postgres_is_refused() {
    let data = DataFolder::of_postgres("/usr/share".into());
    let line = refusal(&data).await;
    assert!(
        line.starts_with("LOQUAT_POSTGRES_BIN: /usr/share holds no `postgres`; name the folder"),
        "{line}"
    );
}

#[tokio::test]
async fn a_chosen_folder_whose_postgres_is_not_one_is_refused() {
    let mut data = DataFolder::new();
    let bin = data.around().join("bin");
    fs::create_dir(&bin).expect("a folder");
    for name in ["postgres", "initdb"] {
        symlink("/bin/true", bin.join(name)).expect("a program");
    }
    data.postgres_bin = Some(bin);
    let line = refusal(&data).await;
    assert!(line.contains("does not run as the user"), "{line}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_made_is_refused() {
    let data = DataFolder::new();
    fs::write(data.path(), "a file in its place").expect("a file");
    let line = refusal(&data).await;
    assert!(
        line.starts_with("LOQUAT_DATA_DIR: ") && line.contains("name another folder"),
        "{line}"
    );
}

#[tokio::test]
async fn a_link_to_a_home_that_is_gone_is_refused() {
    let data = DataFolder::new();
    fs::create_dir(data.path()).expect("a folder");
    symlink("/nowhere", data.path().join("postgres")).expect("a link");
    let line = refusal(&data).await;
    assert!(
        line.contains("is a link to /nowhere, which is gone"),
        "{line}"
    );
}

#[tokio::test]
async fn a_cluster_without_its_password_and_one_that_is_broken_are_refused() {
    let data = DataFolder::new();
    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    keep_a_word(cluster.url()).await;
    cluster.stop().await.expect("a stop");

    let password = data.home().join("password");
    let aside = data.home().join("aside");
    fs::rename(&password, &aside).expect("renamed");
    let line = refusal(&data).await;
    assert!(line.contains("lacks its `password` file"), "{line}");
    fs::rename(&aside, &password).expect("renamed");

    let control = data.home().join("cluster/global/pg_control");
    fs::rename(&control, &aside).expect("renamed");
    let line = refusal(&data).await;
    assert!(
        line.starts_with("PostgreSQL does not start: ") && line.contains("pg_control"),
        "{line}"
    );
    fs::rename(&aside, &control).expect("renamed");

    let cluster = Cluster::start(&data.settings()).await.expect("a start");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_refused_cluster_is_the_programs_one_line_and_exit_code_2() {
    let data = DataFolder::of_postgres("/usr/share".into());
    let output = program(env!("CARGO_BIN_EXE_loquat").as_ref(), &data)
        .output()
        .await
        .expect("an end");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("LOQUAT_POSTGRES_BIN"), "{errors}");
}
