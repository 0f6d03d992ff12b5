//! Sign-in without an issuer, and where it ends.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthError, AuthSetupError, Authenticator, Credential, Identity, Issued},
    config::Settings,
    lifecycle::Lifecycle,
};
use serde_json::json;

use super::issuer::{TestKey, minted, now, offer, reason, secret_settings, settings};

const HOUR: Duration = Duration::from_secs(3600);

fn development(data_dir: &Path) -> Settings {
    let mut settings = settings(&[]);
    settings.data_dir = data_dir.to_owned();
    settings
}

fn authenticator(settings: &Settings) -> Authenticator {
    Authenticator::new(settings, &Lifecycle::new()).expect("a usable configuration")
}

async fn sign_in(authenticator: &Authenticator, name: &str) -> Result<Identity, AuthError> {
    authenticator
        .authenticate(&Credential::DevelopmentUser(name.to_owned()))
        .await
        .map(std::sync::Arc::unwrap_or_clone)
}

#[tokio::test]
async fn any_name_signs_in_and_never_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let authenticator = authenticator(&development(folder.path()));
    assert!(authenticator.has_development_sign_in());

    for name in ["ada", " ada ", "Ada Lovelace", "阿达", &"ü".repeat(255)] {
        let identity = sign_in(&authenticator, name).await.expect("signed in");
        assert_eq!(identity.issuer, "development");
        assert_eq!(identity.external_id, name.trim());
        assert_eq!(identity.expires_at, None);
    }
    for name in ["", "  ", "a\0b", "a\nb", "a\u{7f}", &"x".repeat(256)] {
        let outcome = sign_in(&authenticator, name).await;
        assert_eq!(
            reason(&outcome),
            "the development user name is unusable",
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn a_minted_token_and_the_name_are_the_same_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = development(folder.path());
    // `loquat token` may run before the server, or beside it.
    let before = minted(&settings, "ada", HOUR).expect("minted");
    let authenticator = authenticator(&settings);
    let beside = minted(&settings, "ada", HOUR).expect("minted");

    let named = sign_in(&authenticator, "ada").await.expect("signed in");
    for token in [before, beside] {
        let signed = offer(&authenticator, token).await.expect("accepted");
        assert!(signed.expires_at.is_some());
        assert_eq!(
            Identity {
                issued: Issued::Now,
                expires_at: None,
                ..signed
            },
            named
        );
    }
}

#[tokio::test]
async fn the_key_of_another_folder_signs_nothing_here() {
    let (here, there) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let authenticator = authenticator(&development(here.path()));
    let foreign = minted(&development(there.path()), "ada", HOUR).expect("minted");
    let outcome = offer(&authenticator, foreign).await;
    assert_eq!(reason(&outcome), "the signature is wrong");

    let key = fs::read_to_string(here.path().join("development.key")).expect("a key");
    let key = TestKey::secret(key.trim().as_bytes(), Algorithm::HS256);
    let claims = json!({ "iss": "loquat-development", "sub": "ada", "exp": now() + 60 });
    let accepted = key.sign(r#"{"alg":"HS256"}"#, &claims.to_string());
    assert!(offer(&authenticator, accepted).await.is_ok());
    let claims = json!({ "iss": "loquat", "sub": "ada", "exp": now() + 60 });
    let refused = key.sign(r#"{"alg":"HS256"}"#, &claims.to_string());
    assert_eq!(
        reason(&offer(&authenticator, refused).await),
        "the issuer is another"
    );
}

#[tokio::test]
async fn an_issuer_ends_development_sign_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = minted(&development(folder.path()), "ada", HOUR).expect("minted");
    let mut settings = secret_settings();
    settings.data_dir = folder.path().to_owned();
    let authenticator = authenticator(&settings);

    assert!(!authenticator.has_development_sign_in());
    let outcome = sign_in(&authenticator, "ada").await;
    assert_eq!(reason(&outcome), "development sign-in is off");
    let outcome = offer(&authenticator, token).await;
    assert_eq!(reason(&outcome), "the issuer is another");
}

#[test]
fn the_key_is_made_once_whole_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("made/on/the/way");
    let settings = development(&data_dir);
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                minted(&settings, "ada", HOUR).expect("minted")
            });
        }
    });

    let path = data_dir.join("development.key");
    let key = fs::read_to_string(&path).expect("a key");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(hex::decode(key.trim()).expect("hex").len(), 32);
    let files = fs::read_dir(&data_dir).expect("a folder").count();
    assert_eq!(files, 1, "drafts are left behind");

    minted(&settings, "ada", HOUR).expect("minted");
    assert_eq!(fs::read_to_string(&path).expect("a key"), key);
}

#[tokio::test]
async fn a_key_that_is_no_key_stops_the_start_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("development.key");
    for content in ["", "short", &"00".repeat(31), &"zz".repeat(32)] {
        fs::write(&path, content).expect("written");
        let error = Authenticator::new(&development(folder.path()), &Lifecycle::new())
            .expect_err("refused");
        assert!(matches!(error, AuthSetupError::DevelopmentKey(_)));
        let line = error.to_string();
        assert!(line.contains("development.key") && line.contains("delete it"));
        assert_eq!(line.lines().count(), 1);
    }

    let file = folder.path().join("a-file");
    fs::write(&file, "").expect("written");
    let error = Authenticator::new(&development(&file.join("data")), &Lifecycle::new())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("LOQUAT_DATA_DIR"), "{error}");
}
