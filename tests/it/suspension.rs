//! A suspended user is refused everything, and nothing of theirs is touched.

use loquat::db::SignIn;

use crate::support::{TOLERANCE, TestDatabase, by_token, identity, sign_in, sql};

#[tokio::test]
async fn a_suspended_user_is_refused_at_sign_in_and_welcome_again_once_restored() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let alice = sign_in(&database, "alice").await;
    sql(&test, "update chat.users set suspended_at = now()").await;

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

    sql(&test, "update chat.users set suspended_at = null").await;
    assert_eq!(sign_in(&database, "alice").await.user_id(), alice.user_id());
}
