//! Sessions that end before their time, seen from one replica while another ends them.

use futures_util::FutureExt;
use loquat::{
    accounts::{CreateApiKey, Ending, Session},
    auth::{Credential, Identity},
    http::graphql::{Backend, ChatBackend},
    model::{ApiKey, ApiKeyScope},
};
use secrecy::SecretString;
use sqlx::Connection;

use crate::support::{
    Replica, SqlGate, TestDatabase, eventually, identity, session_of, sign_in_as, sql, within,
};

/// A key of the user's, made on this replica.
async fn make_key(replica: &Replica, user: &str) -> (ApiKey, SecretString) {
    let session = session_of(&replica.viewer(user).await);
    let asked = CreateApiKey {
        name: "a program".to_owned(),
        scopes: vec![ApiKeyScope::Read],
        expires_at: None,
    };
    let made = replica.accounts.create_api_key(&session, asked).await;
    let made = made.expect("a key");
    (made.key, made.secret)
}

async fn sign_in_by(replica: &Replica, secret: &SecretString) -> Session {
    let credential = Credential::ApiKey(secret.clone());
    let session = replica.accounts.sign_in(&credential, None).await;
    session.expect("the key signs in")
}

async fn revoke(replica: &Replica, user: &str, key: &ApiKey) {
    let session = session_of(&replica.viewer(user).await);
    let revoked = replica.accounts.revoke_api_key(&session, key.id).await;
    revoked.expect("the key is revoked");
}

async fn ending_of(session: &Session) -> Ending {
    within("the session ends", session.ended.wait()).await
}

#[tokio::test]
async fn a_revocation_is_heard_at_once_here_and_soon_elsewhere() {
    let test = TestDatabase::create().await;
    let (here, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let (key, secret) = make_key(&here, "alice").await;
    let (spared_key, spared) = make_key(&here, "alice").await;
    let (local, remote) = (
        sign_in_by(&here, &secret).await,
        sign_in_by(&elsewhere, &secret).await,
    );
    let other = sign_in_by(&elsewhere, &spared).await;
    revoke(&here, "alice", &key).await;
    assert_eq!(local.ended.wait().now_or_never(), Some(Ending::KeyRevoked));
    assert_eq!(ending_of(&remote).await, Ending::KeyRevoked);
    assert!(other.ended.wait().now_or_never().is_none());
    // Once more is once.
    revoke(&here, "alice", &key).await;
    revoke(&here, "alice", &spared_key).await;
    assert_eq!(ending_of(&other).await, Ending::KeyRevoked);
}

#[tokio::test]
async fn a_session_that_was_judged_before_its_key_was_revoked_and_begins_after_it_ends_too() {
    let test = TestDatabase::create().await;
    let (here, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let (key, secret) = make_key(&here, "alice").await;
    let witness = sign_in_by(&elsewhere, &secret).await;

    // The key was read and found good; the note of its use does not come through.
    let mut gate = SqlGate::closed(&test, 7).await;
    sql(
        &test,
        &format!(
            "create policy gate on chat.users as restrictive for update to loquat_system using ({}); \
             update chat.api_keys set last_used_at = now() - interval '1 hour'",
            SqlGate::passed(7)
        ),
    )
    .await;
    let late = tokio::spawn({
        let accounts = elsewhere.accounts.clone();
        let credential = Credential::ApiKey(secret.clone());
        async move { accounts.sign_in(&credential, None).await }
    });
    gate.waiting(1).await;
    revoke(&here, "alice", &key).await;
    // The look that finds the revocation is over, and has not met the late session.
    assert_eq!(ending_of(&witness).await, Ending::KeyRevoked);
    gate.open().await;
    let late = within("the sign-in goes on", late).await;
    let late = late
        .expect("no panic")
        .expect("it was good when it was read");
    assert_eq!(ending_of(&late).await, Ending::KeyRevoked);
}

#[tokio::test]
async fn what_ended_in_an_outage_of_the_database_is_found_after_it() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (_, secret) = make_key(&replica, "alice").await;
    let session = sign_in_by(&replica, &secret).await;

    let mut connection = test.superuser().await;
    let mut tx = connection.begin().await.expect("a transaction");
    for statement in [
        "lock table chat.api_keys",
        "update chat.api_keys set revoked_at = clock_timestamp()",
    ] {
        sqlx::query(statement)
            .execute(&mut *tx)
            .await
            .expect("a statement runs");
    }
    // Look after look gets no answer, and then its connection is gone.
    for _ in 0..3 {
        eventually("a look is cut off", || async {
            let cut: Vec<bool> = sqlx::query_scalar(
                "select pg_terminate_backend(pid) from pg_locks \
                 where relation = 'chat.api_keys'::regclass and not granted",
            )
            .fetch_all(&mut test.superuser().await)
            .await
            .expect("the locks");
            (!cut.is_empty()).then_some(())
        })
        .await;
    }
    assert!(session.ended.wait().now_or_never().is_none());
    tx.commit().await.expect("a commit");
    assert_eq!(ending_of(&session).await, Ending::KeyRevoked);
}

#[tokio::test]
async fn what_began_with_one_credential_goes_on_with_another_of_its_user_that_may_read() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let admin = Identity {
        is_admin: true,
        ..identity("alice")
    };
    let in_person = session_of(&sign_in_as(&replica.database, &admin).await);
    let by_key = async |user: &Session, scope: ApiKeyScope| {
        let asked = CreateApiKey {
            name: "a program".to_owned(),
            scopes: vec![scope],
            expires_at: None,
        };
        let made = replica.accounts.create_api_key(user, asked).await;
        sign_in_by(&replica, &made.expect("a key").secret).await
    };
    let reads = by_key(&in_person, ApiKeyScope::Read).await;
    let administers = by_key(&in_person, ApiKeyScope::Admin).await;
    let bob = session_of(&replica.viewer("bob").await);
    let bobs = by_key(&bob, ApiKeyScope::Write).await;
    for (current, fresh) in [
        (&in_person, &reads),
        (&reads, &in_person),
        (&administers, &administers),
        (&administers, &reads),
    ] {
        assert_eq!(ChatBackend::may_go_on(current, fresh), Ok(()));
    }
    for (current, fresh, expected) in [
        (&reads, &administers, "The credential may not read"),
        (&in_person, &bob, "The credential is another user's"),
        (&reads, &bobs, "The credential is another user's"),
        (&bobs, &in_person, "The credential is another user's"),
    ] {
        assert_eq!(ChatBackend::may_go_on(current, fresh), Err(expected));
    }
}

#[tokio::test]
async fn a_look_goes_back_to_the_one_before_it_and_a_minute_more() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (key, _) = make_key(&replica, "alice").await;
    let alice = replica.viewer("alice").await.user_id();
    let now = replica
        .database
        .endings(None)
        .await
        .expect("a look")
        .asked_at;
    let found = async |seconds_ago: i64, last_asked| {
        let ago = format!("now() - interval '{seconds_ago} s'");
        sql(
            &test,
            &format!("update chat.api_keys set revoked_at = {ago}; update chat.users set suspended_at = {ago}; \
                insert into chat.tombstones select user_id, sha256(''), {ago} from chat.users \
                on conflict (user_id) do update set deleted_at = excluded.deleted_at"),
        )
        .await;
        let endings = replica.database.endings(last_asked).await.expect("a look");
        assert!(endings.asked_at >= now);
        assert!(endings.keys.iter().all(|ended| *ended == (alice, key.id)));
        assert!(endings.users.iter().all(|ended| *ended == alice));
        (endings.keys.len(), endings.users.len())
    };
    assert_eq!(found(0, None).await, (1, 2));
    assert_eq!(found(50, Some(now)).await, (1, 2));
    assert_eq!(found(90, Some(now)).await, (0, 0));
    // The database was away for ten minutes.
    let before = now - chrono::TimeDelta::minutes(10);
    assert_eq!(found(600, Some(before)).await, (1, 2));
    assert_eq!(found(700, Some(before)).await, (0, 0));
}
