//! The owner-scoped store, with everything above it taken away.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use loquat::{
    auth::{Identity, Issued, PolicyClaims},
    db::{Database, NewConversation, NewMessage, Viewer, ViewerTx},
    model::{
        Conversation, ConversationId, Message, MessageId, MessageRole, MessageStatus, Place, UserId,
    },
};

use crate::support::{TestDatabase, identity, sign_in, sign_in_as};

async fn conversation_of(database: &Database, viewer: &Viewer, title: &str) -> Conversation {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    let conversation = tx
        .insert_conversation(&NewConversation {
            id: ConversationId::new(),
            title: Some(title.to_owned()),
            system_prompt: None,
            model: None,
        })
        .await
        .expect("a conversation");
    tx.commit().await.expect("a commit");
    conversation
}

async fn message_in(tx: &mut ViewerTx, conversation: ConversationId) -> Result<Message, String> {
    tx.insert_message(&NewMessage {
        id: MessageId::new(),
        conversation_id: conversation,
        place: Place::after(None),
        revision: 1,
        role: MessageRole::User,
        content: "hello".to_owned(),
        status: MessageStatus::Completed,
        model: None,
        idempotency_key: None,
    })
    .await
    .map_err(|error| format!("{error:?}"))
}

/// How many conversations the viewer's own transaction counts.
async fn seen_by(database: &Database, viewer: &Viewer) -> i64 {
    let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
    let count = tx
        .count_conversations(&Default::default())
        .await
        .expect("a count");
    tx.commit().await.expect("a commit");
    count
}

/// Drops the future when it would be polled for the `polls`-th time and one more, which is to say
/// at each of its awaits in turn. Whether it was done before.
async fn cancelled_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// The kinds of transaction that requests open.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Viewer,
    Admin,
    System,
}

impl Kind {
    /// One of them from its beginning to its end.
    async fn work(self, database: &Database, viewer: &Viewer) {
        match self {
            Self::Viewer => {
                let mut tx = database.viewer_tx(viewer).await.expect("a transaction");
                tx.count_conversations(&Default::default())
                    .await
                    .expect("a count");
                message_in(&mut tx, ConversationId::new()).await.ok();
                tx.commit().await.ok();
            }
            Self::Admin => {
                let admin = viewer.admin().expect("an admin");
                let mut tx = database.admin_tx(&admin).await.expect("a transaction");
                tx.users(&[viewer.user_id()]).await.expect("users");
                tx.set_suspended(UserId::new(), true).await.expect("none");
                tx.commit().await.ok();
            }
            Self::System => {
                sign_in(database, "carol").await;
            }
        }
    }
}

#[tokio::test]
async fn no_cancellation_leaves_a_connection_inside_somebodys_transaction() {
    for kind in [Kind::Viewer, Kind::Admin, Kind::System] {
        let test = TestDatabase::create().await;
        // One connection, so that whatever is left of one transaction meets the next user.
        let database = test.open_with(1).await;
        let admin = Identity {
            is_admin: true,
            ..identity("alice")
        };
        let (alice, bob) = (
            sign_in_as(&database, &admin).await,
            sign_in(&database, "bob").await,
        );
        conversation_of(&database, &alice, "one").await;
        conversation_of(&database, &alice, "two").await;

        let mut finished = 0;
        for polls in 0..40 {
            let work = kind.work(&database, &alice);
            finished += usize::from(cancelled_after(polls, work).await);
            assert_eq!(seen_by(&database, &bob).await, 0, "{kind:?}, {polls} polls");
            assert_eq!(
                seen_by(&database, &alice).await,
                2,
                "{kind:?}, {polls} polls"
            );
            // Whose transaction it was that was cut off is still somebody whom one can sign in.
            sign_in(&database, "bob").await;
        }
        assert!(
            (1..40).contains(&finished),
            "{kind:?}: some were cut and some were not"
        );
    }
}

#[tokio::test]
async fn hostile_claims_are_text_and_nothing_else() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let mut connection = test.superuser().await;
    for hostile in [
        "'; drop schema chat cascade; --",
        "\\'; reset role; select set_config('loquat.user_id', null, false); --",
        "$$; commit; $$",
        "\u{1F34A}\"\\u0000\\\n\r\t",
        "', true), set_config('role', 'postgres",
    ] {
        let viewer = sign_in_as(
            &database,
            &Identity {
                issuer: hostile.to_owned(),
                external_id: hostile.to_owned(),
                email: Some(hostile.to_owned()),
                display_name: Some(hostile.to_owned()),
                claims: PolicyClaims {
                    sub: hostile.to_owned(),
                    role: Some(hostile.to_owned()),
                    iss: Some(hostile.to_owned()),
                },
                is_admin: false,
                issued: Issued::Now,
                expires_at: None,
            },
        )
        .await;
        let mut tx = database.viewer_tx(&viewer).await.expect("a transaction");
        let user = tx.user().await.expect("a query").expect("the user");
        assert_eq!(user.external_id, hostile);
        assert_eq!(user.display_name.as_deref(), Some(hostile));
        tx.commit().await.expect("a commit");
        conversation_of(&database, &viewer, hostile).await;
        assert_eq!(seen_by(&database, &viewer).await, 1);
    }
    let users: i64 = sqlx::query_scalar("select count(*) from chat.users")
        .fetch_one(&mut connection)
        .await
        .expect("the schema still stands");
    assert_eq!(users, 5);
}

#[tokio::test]
async fn a_user_is_made_once_and_refreshed_by_claims() {
    let test = TestDatabase::create().await;
    let database = test.open().await;
    let at_once = futures_util::future::join_all((0..5).map(|_| sign_in(&database, "alice"))).await;
    let id = at_once[0].user_id();
    assert!(at_once.iter().all(|viewer| viewer.user_id() == id));

    let mut renamed = identity("alice");
    renamed.display_name = Some("Alice".to_owned());
    renamed.email = None;
    let viewer = sign_in_as(&database, &renamed).await;
    let mut tx = database.viewer_tx(&viewer).await.expect("a transaction");
    let user = tx.user().await.expect("a query").expect("the user");
    assert_eq!(user.display_name.as_deref(), Some("Alice"));
    assert_eq!(
        user.email.as_deref(),
        Some("alice@example.com"),
        "an absent claim takes nothing away"
    );
    tx.commit().await.expect("a commit");

    // Nothing to refresh: no write, so the row's version stays.
    let mut connection = test.superuser().await;
    let version = "select xmin::text from chat.users";
    let before: String = sqlx::query_scalar(version)
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    sign_in(&database, "alice").await;
    let after: String = sqlx::query_scalar(version)
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert_eq!(before, after);

    let mut elsewhere = identity("alice");
    elsewhere.issuer = "another".to_owned();
    let other = sign_in_as(&database, &elsewhere).await;
    assert_ne!(
        other.user_id(),
        id,
        "the same name from two issuers is two users"
    );
}
