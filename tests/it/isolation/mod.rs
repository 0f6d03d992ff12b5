//! Nobody sees another user's data, whichever field they ask and whoever they are.
//!
//! The cases are data. What there is to have a case for is read from the schema, so a field, a
//! type of node or an id argument that is added without one fails here by its name. The same cases
//! run on all three floors that keep users apart, and with each of the three taken away.

mod attempts;
mod callers;
mod cases;
mod catalogue;
mod floors;
mod schema;
mod stage;
mod supabase;
mod things;

use std::collections::BTreeSet;

use attempts::Scene;
use callers::Caller;
use cases::{Outcome, cases};
use floors::Floor;
use schema::Schema;

/// What needs no case, and why.
const EXEMPT: &[(&str, &str)] = &[];

#[test]
fn every_field_and_every_id_of_the_schema_has_a_case() {
    let schema = Schema::read();
    let mut untried = schema.everything_to_try();
    for case in cases(&schema) {
        let tried = schema.tried_by(&case.document, &case.variables);
        untried.retain(|place| !tried.contains(place));
    }
    for (place, reason) in EXEMPT {
        assert!(
            untried.remove(*place),
            "{place} needs no exemption ({reason})"
        );
    }
    assert_eq!(untried, BTreeSet::new(), "without a case");
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the matrix is what this test is run for"
)]
async fn nobody_reaches_what_is_not_theirs() {
    let scene = Scene::without(&[]).await;
    let report = scene.attempts().await;
    report.assert_refused();
    println!("{report}");

    // What was refused was a question that has an answer.
    for case in &scene.cases {
        if matches!((&case.stranger, &case.admin), (Outcome::NotFound, None)) {
            let answer = scene.owner(case).await;
            let name = &case.name;
            assert!(answer.codes().is_empty(), "{name}: {answer:?}");
            assert!(answer.has_data(), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn nobody_reaches_it_where_the_sql_names_no_owner() {
    let scene = Scene::without(&[Floor::Sql]).await;
    scene.attempts().await.assert_refused();
}

#[tokio::test]
async fn nobody_reaches_it_where_no_key_carries_the_owner() {
    let scene = Scene::without(&[Floor::Keys]).await;
    scene.attempts().await.assert_refused();
}

#[tokio::test]
async fn nobody_reaches_it_where_no_row_is_hidden() {
    let scene = Scene::without(&[Floor::Policies]).await;
    scene.attempts().await.assert_refused();
}

/// Cases that no floor decides: with two of the three gone they are still refused.
const ABOVE_THE_FLOORS: &[(&str, &str)] = &[
    (
        "viewer.conversations.messages(after)",
        "the cursor's mark is of another list",
    ),
    (
        "viewer.conversations.messages(before)",
        "the cursor's mark is of another list",
    ),
    ("models", "the same for everybody"),
    ("node: Viewer", "there is one viewer: ids are compared"),
    ("nodes: Viewer", "there is one viewer: ids are compared"),
    ("startChat", "the first with this key of the caller's"),
    ("startChat: all of it", "makes what it shows"),
    ("createApiKey", "makes what it shows"),
    ("deleteViewer", "the viewer's name is compared"),
];

#[tokio::test]
async fn every_case_would_notice_if_the_floors_were_not_there() {
    let scene = Scene::without(&[Floor::Sql, Floor::Policies]).await;
    let report = scene.attempts().await;
    let for_admins = scene.cases.iter().filter(|case| case.admins_alone);
    let for_admins: Vec<&String> = for_admins.map(|case| &case.name).collect();
    let still_refused: Vec<&str> = report
        .attempts
        .iter()
        .filter(|attempt| attempt.caller == Caller::SecondUser && attempt.outcome.is_ok())
        // What is for admins alone is decided by the credential.
        .filter(|attempt| !for_admins.contains(&&attempt.case))
        .map(|attempt| attempt.case.as_str())
        .collect();
    let expected: Vec<&str> = ABOVE_THE_FLOORS.iter().map(|(case, _)| *case).collect();
    assert_eq!(still_refused, expected, "{report}");
    assert!(!report.changes.is_empty(), "her data, too");

    // The SQL was taken apart everywhere that an owner stood: what is whole stores rows of the
    // caller.
    let statements = scene.stage.blindfold.as_ref().expect("put on").statements();
    let whole = statements
        .iter()
        .filter(|statement| statement.sent == statement.run);
    for statement in whole {
        let sent = &statement.sent;
        assert!(
            sent.starts_with("insert into") || sent.starts_with("with list (next) as (insert"),
            "{sent}"
        );
    }
}
