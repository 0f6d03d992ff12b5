//! Tokens that come again: what has changed since they were accepted, counts.

use std::time::{Duration, SystemTime};

use loquat::{auth::Authenticator, lifecycle::Lifecycle};
use serde_json::json;

use super::{
    issuer::{hs256, now, offer, reason, secret_settings},
    server::{Reply, Server},
};
use crate::support::{eventually, sql};

#[tokio::test]
async fn a_token_ends_at_its_time_however_often_it_was_accepted() {
    let mut settings = secret_settings();
    settings.jwt_leeway = Duration::ZERO;
    let authenticator =
        Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");
    let end = now() + 2;
    let token = hs256().token(json!({}), json!({ "exp": end }));
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end.unsigned_abs());

    let accepted = offer(&authenticator, token.as_str()).await;
    assert_eq!(accepted.expect("a good token").expires_at, Some(end));
    eventually("the token expires", async || {
        let asked = SystemTime::now();
        let outcome = offer(&authenticator, token.as_str()).await;
        let answered = SystemTime::now();
        match &outcome {
            Ok(_) => assert!(asked < end),
            Err(_) => assert!(answered >= end),
        }
        (reason(&outcome) == "the token has expired").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_suspended_user_is_refused_with_a_token_that_was_accepted_before() {
    let server = Server::start(secret_settings()).await;
    let token = hs256().token(json!({}), json!({}));
    let bearer = format!("Bearer {token}").into_bytes();
    let ask = async || {
        server
            .ask(&vec![("authorization", bearer.clone())], "")
            .await
    };
    let welcome = Reply::User("user-1".to_owned());
    for _ in 0..3 {
        assert_eq!(ask().await, welcome);
    }

    sql(
        &server.database,
        "update chat.users set suspended_at = now()",
    )
    .await;
    for _ in 0..3 {
        let reply = ask().await;
        assert!(
            matches!(reply, Reply::Refused | Reply::Other(_)),
            "{reply:?}"
        );
    }
    sql(
        &server.database,
        "update chat.users set suspended_at = null",
    )
    .await;
    assert_eq!(ask().await, welcome);
}
