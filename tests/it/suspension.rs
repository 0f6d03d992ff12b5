//! A suspended user is refused everything, and nothing of theirs is touched.

use loquat::{accounts::AccountsError, db::SignIn, model::MessageStatus};
use serde_json::json;

use crate::{
    provider::FakeProvider,
    support::{
        Replica, TOLERANCE, TestDatabase, by_token, identity,
        process::{Device, program},
        session_of, sign_in, sql,
    },
};

const SUSPEND: &str = "update chat.users set suspended_at = now() where external_id = 'alice'";
const RESTORE: &str = "update chat.users set suspended_at = null";

#[tokio::test]
async fn a_suspended_user_is_refused_at_sign_in_and_welcome_again_once_restored() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let alice = sign_in(&database, "alice").await;
    sql(&test, SUSPEND).await;

    let mut promoted = identity("alice");
    promoted.is_admin = true;
    for identity in [identity("alice"), promoted] {
        let refused = database.sign_in(&identity, TOLERANCE, &by_token()).await;
        assert!(
            matches!(refused, Ok(SignIn::Suspended(user_id)) if user_id == alice.user_id()),
            "{refused:?}"
        );
    }
    let stranger = sign_in(&database, "bob").await;
    assert_ne!(stranger.user_id(), alice.user_id());

    sql(&test, RESTORE).await;
    assert_eq!(sign_in(&database, "alice").await.user_id(), alice.user_id());
}

/// Their socket may be open for a moment more.
#[tokio::test]
async fn a_user_who_was_suspended_since_they_signed_in_does_not_delete_themselves() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let alice = replica.viewer("alice").await;
    let session = session_of(&alice);
    sql(&test, SUSPEND).await;
    let refused = replica.accounts.delete_viewer(&session, "alice").await;
    assert!(
        matches!(refused, Err(AccountsError::Forbidden(_))),
        "{refused:?}"
    );
    sql(&test, RESTORE).await;
    assert_eq!(replica.viewer("alice").await.user_id(), alice.user_id());
    let deleted = replica.accounts.delete_viewer(&session, "alice").await;
    deleted.expect("deleted");
}

#[tokio::test]
async fn whatever_a_suspended_user_asks_is_forbidden_on_every_transport() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let alice = Device::of(&server, "alice");
    let conversation = alice.start_chat().await;
    sql(&test, SUSPEND).await;
    for document in [
        "{ __typename }",
        "{ viewer { id } }",
        "mutation { startChat(input: {}) { conversation { id } } }",
        "mutation { deleteViewer(input: { confirmExternalId: \"alice\" }) { deletedViewerId } }",
    ] {
        let refused = alice.answer(document, json!({})).await;
        assert_eq!(refused.status, 403, "{document}");
        assert_eq!(
            refused.body,
            json!({ "errors": [{
                "message": "This user is suspended.",
                "extensions": { "code": "FORBIDDEN" },
            }] }),
            "{document}"
        );
    }
    let closed = alice.judged_socket().await.closed().await;
    assert_eq!(closed, (4403, "This user is suspended.".to_owned()));
    Device::of(&server, "bob").start_chat().await;

    sql(&test, RESTORE).await;
    let kept = alice
        .data(
            "query($id: ID!) { viewer { conversation(id: $id) { id } } }",
            json!({ "id": conversation }),
        )
        .await;
    assert_eq!(kept["viewer"]["conversation"]["id"], conversation.as_str());
}

#[tokio::test]
async fn a_reply_that_runs_when_its_user_is_suspended_is_finished() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let alice = replica.viewer("alice").await;
    let conversation = replica.conversation(&alice).await;
    let (_, mut reader, writing) = replica.begin(&alice, conversation).await;
    writing.say("to the ");
    reader.until("to the ").await;
    sql(&test, SUSPEND).await;
    writing.say("end");
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, "to the end");
}
