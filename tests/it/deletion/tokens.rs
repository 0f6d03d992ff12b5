//! What becomes of tokens whose user was deleted.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use loquat::{
    auth::{Identity, Issued},
    db::{Database, SignIn},
    model::{AuditAction, NewAuditEvent, UserId},
};
use serde_json::json;

use super::DELETE;
use crate::{
    provider::FakeProvider,
    support::{
        TOLERANCE, TestDatabase, by_token, identity,
        process::{Device, program},
        sign_in, sign_in_as, sql,
    },
};

fn issued(issued: Issued) -> Identity {
    Identity {
        issued,
        ..identity("alice")
    }
}

/// A token of so long ago.
fn ago(seconds: u64) -> Identity {
    issued(Issued::At(SystemTime::now() - Duration::from_secs(seconds)))
}

async fn is_refused(database: &Database, identity: &Identity) -> bool {
    let outcome = database.sign_in(identity, TOLERANCE, &by_token()).await;
    matches!(outcome.expect("a verdict"), SignIn::Deleted)
}

fn deleted() -> NewAuditEvent {
    NewAuditEvent::succeeded(AuditAction::UserDeleted, &by_token())
}

async fn delete(database: &Database, name: &str) -> UserId {
    let viewer = sign_in(database, name).await;
    let deletion = database.delete_viewer(&viewer, name, &deleted()).await;
    assert!(
        matches!(deletion, Ok(loquat::db::OwnDeletion::Acknowledged(_))),
        "{deletion:?}"
    );
    viewer.user_id()
}

/// Pretends that everybody who was deleted was deleted a day earlier.
async fn a_day_passes(test: &TestDatabase) {
    sql(
        test,
        "update chat.tombstones set deleted_at = deleted_at - interval '1 day'; \
         update chat.users set tokens_valid_from = tokens_valid_from - interval '1 day'",
    )
    .await;
}

#[tokio::test]
async fn a_token_from_before_the_deletion_brings_nobody_back() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let old = delete(&database, "alice").await;
    for identity in [
        ago(3600),
        ago(0),
        issued(Issued::Unsaid),
        // The clock of the issuer may be ahead.
        issued(Issued::At(SystemTime::now() + Duration::from_secs(50))),
    ] {
        assert!(is_refused(&database, &identity).await, "{identity:?}");
    }
    let left: i64 = sqlx::query_scalar("select count(*) from chat.users where deleted_at is null")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(left, 0, "and nobody was made on the way");

    // The same name elsewhere is somebody else, and so is a longer name.
    for (issuer, name) in [("another", "alice"), ("test", "alice ")] {
        let other = Identity {
            issuer: issuer.to_owned(),
            external_id: name.to_owned(),
            ..issued(Issued::Unsaid)
        };
        assert!(!is_refused(&database, &other).await);
    }
    let younger = issued(Issued::At(SystemTime::now() + Duration::from_secs(90)));
    let outcome = database.sign_in(&younger, TOLERANCE, &by_token()).await;
    let Ok(SignIn::Viewer { viewer, is_new }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(is_new);
    assert_ne!(viewer.user_id(), old);
    // Nor does an old one let its bearer in as the new user.
    for identity in [ago(3600), ago(0), issued(Issued::Unsaid)] {
        assert!(is_refused(&database, &identity).await, "{identity:?}");
    }
    for identity in [younger, issued(Issued::Now)] {
        let again = sign_in_as(&database, &identity).await;
        assert_eq!(again.user_id(), viewer.user_id());
    }
}

#[tokio::test]
async fn the_last_of_several_deletions_is_what_counts() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let first = delete(&database, "alice").await;
    a_day_passes(&test).await;
    let second = sign_in_as(&database, &ago(3600)).await;
    assert_ne!(second.user_id(), first);
    assert!(is_refused(&database, &ago(2 * 86400)).await);

    assert_eq!(delete(&database, "alice").await, second.user_id());
    assert!(is_refused(&database, &ago(3600)).await);
    a_day_passes(&test).await;
    let third = sign_in_as(&database, &ago(3600)).await;
    assert!(![first, second.user_id()].contains(&third.user_id()));
}

#[tokio::test]
async fn a_sign_in_beside_the_deletion_makes_no_second_user() {
    let test = TestDatabase::create().await;
    let database = test.open_with(12).await;
    for round in 0..20 {
        let name = format!("alice {round}");
        let viewer = sign_in(&database, &name).await;
        let token = Identity {
            external_id: name.clone(),
            email: Some(format!("{round}@example.com")),
            ..ago(round)
        };
        let crowd = futures_util::future::join_all((0..5).map(|_| async {
            database
                .sign_in(&token, TOLERANCE, &by_token())
                .await
                .expect("a verdict")
        }));
        let event = deleted();
        let (deletion, seen) = tokio::join!(database.delete_viewer(&viewer, &name, &event), crowd);
        deletion.expect("deleted");
        for outcome in seen {
            if let SignIn::Viewer { viewer: one, .. } = outcome {
                assert_eq!(
                    one.user_id(),
                    viewer.user_id(),
                    "it was before the deletion"
                );
            }
        }
    }
    let left: i64 = sqlx::query_scalar(
        "select count(*) from chat.users where deleted_at is null or email is not null",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn whoever_was_deleted_is_told_what_any_bad_credential_is_told() {
    const SECRET: &str = "a-secret-of-this-test-of-32-bytes-or-more";
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("JWT_SECRET_KEY", SECRET)
        .serve()
        .await;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let token = |secret: &str, iat: u64| {
        let claims = json!({ "sub": "ann", "iat": iat, "exp": now + 3600 });
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::default(), &claims, &key).expect("a token")
    };
    let ann = Device::with_token(&server, &token(SECRET, now));
    ann.start_chat().await;
    ann.data(DELETE, json!({ "id": "ann" })).await;

    let forged = Device::with_token(&server, &token("another secret, of 32 bytes or more", now));
    let deleted = ann.answer("{ viewer { id } }", json!({})).await;
    let bad = forged.answer("{ viewer { id } }", json!({})).await;
    assert_eq!((deleted.status.as_u16(), &deleted.body), (401, &bad.body));
    assert_eq!(deleted.code(), "UNAUTHENTICATED");
    assert_eq!(
        ann.judged_socket().await.closed().await,
        forged.judged_socket().await.closed().await
    );

    a_day_passes(&test).await;
    let data = ann
        .data("{ viewer { conversations { totalCount } } }", json!({}))
        .await;
    assert_eq!(data["viewer"]["conversations"]["totalCount"], 0);
    let before = Device::with_token(&server, &token(SECRET, now - 2 * 86400));
    let refused = before.answer("{ viewer { id } }", json!({})).await;
    assert_eq!(refused.body, bad.body);
}
