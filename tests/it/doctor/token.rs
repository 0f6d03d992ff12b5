//! Tokens and API keys, and whom they let in.

use loquat::{auth::Authenticator, config::Settings, lifecycle::Lifecycle};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{about, doctor};
use crate::{
    auth::issuer::{AUDIENCE, ISSUER, SECRET, hs256, now, offer, settings},
    support::{
        TestDatabase,
        program::{Program, Server, client},
        sign_in_as,
    },
};

async fn explained(variables: &[(&str, &str)], token: &str) -> (Option<i32>, Vec<String>) {
    let program = variables
        .iter()
        .fold(
            Program::new(&["doctor", "--token", "-"]),
            |program, (name, value)| program.variable(name, value),
        )
        .input(token);
    doctor(program).await
}

#[tokio::test]
async fn a_token_is_read_from_the_arguments_or_from_standard_input() {
    let settings = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    let token = hs256().token(json!({}), json!({}));
    for written in [
        token.clone(),
        format!("  {token}\n"),
        format!("Bearer {token}\n"),
    ] {
        let (code, lines) = explained(&settings, &written).await;
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(
            lines[0].starts_with("accepted  jwt: its user is \"user-1\", until "),
            "{lines:?}"
        );
    }
    let program = settings.iter().fold(
        Program::new(&["doctor", "--token", &token]),
        |program, (name, value)| program.variable(name, value),
    );
    assert_eq!(doctor(program).await.0, Some(0));
    assert_eq!(explained(&settings, " \n").await.0, Some(1));
}

#[tokio::test]
async fn a_token_of_the_command_line_is_accepted_in_development() {
    let server = Program::new(&[])
        .database(&TestDatabase::create().await)
        .serve()
        .await;
    let say = async |arguments: &[&str]| {
        let output = server.beside(arguments).output().await.expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let token = say(&["token", "--user", "ann"]).await;
    let said = say(&["doctor", "--token", token.trim()]).await;
    assert!(
        said.starts_with("accepted  development: its user is \"ann\", until "),
        "{said}"
    );
    server.signal(Signal::SIGTERM);
    server.end().await;
}

#[tokio::test]
async fn every_issuer_has_its_say_and_one_that_accepts_is_enough() {
    let file = format!(
        "[[issuers]]\nname = 'shop'\nissuer = '{ISSUER}'\nsecret = '{SECRET}'\n\
         [[issuers]]\nname = 'desk'\nissuer = 'https://desk.test'\nsecret = '{SECRET}'\n\
         [[issuers]]\nname = 'old'\nsecret = 'another-secret-of-more-than-32-bytes'\n"
    );
    let program = Program::new(&["doctor", "--token", "-"])
        .file("loquat.toml", &file)
        .input(&hs256().token(json!({}), json!({})));
    let (code, lines) = doctor(program).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(about(&lines, "shop").starts_with("accepted"), "{lines:?}");
    assert_eq!(
        about(&lines, "desk"),
        "refused   desk: its iss is \"https://issuer.test\", not \"https://desk.test\"; send a \
         token of that issuer, or change `issuer` of the [[issuers]] table desk"
    );
    assert_eq!(
        about(&lines, "old"),
        "refused   old: its iss is \"https://issuer.test\", which another configured issuer has: \
         that one alone is asked"
    );
}

/// A mutation of the development user Ann, by name.
async fn ann(server: &Server, mutation: &str) -> Value {
    let answer: Value = client()
        .post(server.url("/graphql"))
        .header("content-type", "application/json")
        .header("x-user-id", "ann")
        .body(json!({ "query": mutation }).to_string())
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].clone()
}

async fn changed(test: &TestDatabase, statement: &'static str) {
    let done = sqlx::query(statement)
        .execute(&mut test.superuser().await)
        .await
        .expect("changed");
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn it_says_what_became_of_an_api_key() {
    const MAKE: &str = "mutation { createApiKey(input: { name: \"doctor\", scopes: [READ] }) { \
                        secret apiKey { id } } }";

    let test = TestDatabase::create().await;
    let url = test.url.expose_secret().to_owned();
    let settings = [("DATABASE_URL", url.as_str())];
    let (code, lines) = explained(&settings, "loq_whatever").await;
    assert_eq!(code, Some(1));
    assert!(
        lines[0].contains("the database lacks migrations"),
        "{lines:?}"
    );

    let server = Program::new(&[]).database(&test).serve().await;
    let made = ann(&server, MAKE).await;
    let made = &made["createApiKey"];
    let key = made["secret"].as_str().expect("a key").to_owned();
    let says = async |words: &str, expected: i32| {
        let (code, lines) = explained(&settings, &key).await;
        assert_eq!(code, Some(expected), "{lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(words), "{lines:?}");
        assert!(!lines[0].contains(&key[16..]), "{lines:?}");
    };
    says("accepted  API key: it may read", 0).await;
    let used: Option<i64> = sqlx::query_scalar("select count(last_used_at) from chat.api_keys")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(used, Some(0), "to ask is not to use");

    changed(&test, "update chat.users set suspended_at = now()").await;
    says("its user is suspended", 1).await;
    changed(&test, "update chat.users set suspended_at = null").await;
    changed(&test, "update chat.api_keys set created_at = now() - interval '2 days', expires_at = now() - interval '1 day'").await;
    says("it has expired", 1).await;
    changed(&test, "update chat.api_keys set expires_at = null").await;
    let id = made["apiKey"]["id"].as_str().expect("an id");
    ann(
        &server,
        &format!(
            "mutation {{ revokeApiKey(input: {{ apiKeyId: \"{id}\" }}) {{ apiKey {{ id }} }} }}"
        ),
    )
    .await;
    says("it was revoked", 1).await;
    ann(
        &server,
        "mutation { deleteViewer(input: { confirmExternalId: \"ann\" }) { deletedViewerId } }",
    )
    .await;
    says("this database knows none that reads so", 1).await;
    server.signal(Signal::SIGTERM);
    server.end().await;
}

#[tokio::test]
async fn a_good_token_of_somebody_who_is_not_let_in_is_refused_with_the_reason() {
    let test = TestDatabase::create().await;
    let url = test.url.expose_secret().to_owned();
    let settings = [("DATABASE_URL", url.as_str()), ("JWT_SECRET_KEY", SECRET)];
    let token = hs256().token(json!({}), json!({ "sub": "ann" }));
    let database = test.open().await;

    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let users: i64 = sqlx::query_scalar("select count(*) from chat.users where issuer = 'jwt'")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(users, 0, "to ask is not to sign in");

    let identity = offer(
        &Authenticator::new(&secret_only(), &Lifecycle::new()).expect("usable"),
        token.as_str(),
    )
    .await
    .expect("accepted");
    sign_in_as(&database, &identity).await;
    changed(
        &test,
        "update chat.users set suspended_at = now() where issuer = 'jwt'",
    )
    .await;
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines[0].starts_with("refused   jwt: its user is suspended"),
        "{lines:?}"
    );
    changed(
        &test,
        "update chat.users set suspended_at = null, tokens_valid_from = now() where issuer = 'jwt'",
    )
    .await;
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[0].contains("its user was deleted here"), "{lines:?}");
    database.close().await;
}

fn secret_only() -> Settings {
    settings(&[("JWT_SECRET_KEY", SECRET)])
}

#[tokio::test]
async fn neither_the_token_nor_whom_it_is_about_is_printed() {
    let token = hs256().token(
        json!({ "kid": "planted-kid@example.org" }),
        json!({
            "iss": "planted-iss@example.org", "aud": ["planted-aud@example.org"],
            "email": "planted-email@example.org", "name": "Planted Name", "sub": "planted-sub",
        }),
    );
    let signature = token.rsplit('.').next().expect("a signature").to_owned();
    for settings in [
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", ISSUER)],
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_AUDIENCE", AUDIENCE)],
        vec![("JWT_SECRET_KEY", SECRET), ("JWT_USER_CLAIM", "email")],
        vec![("JWT_SECRET_KEY", "another-secret-of-more-than-32-bytes")],
        vec![],
    ] {
        let (_, lines) = explained(&settings, &token).await;
        let text = lines.concat();
        assert!(!text.to_lowercase().contains("planted"), "{text}");
        assert!(!text.contains(&signature), "{text}");
    }
    // Whatever a token says stays on its line, and short.
    let forged = format!("x\nok        fine: {}", "y".repeat(5_000));
    let token = hs256().token(json!({}), json!({ "iss": forged, "exp": now() + 60 }));
    let settings = [("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", ISSUER)];
    let (code, lines) = explained(&settings, &token).await;
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].len() < 600, "{lines:?}");
}
