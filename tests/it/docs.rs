//! The recipes, held to what they say: their settings are read, their users get in, and every row
//! of their tables is tried, with the log's reason and the doctor's words as they stand there.

pub mod pages;
mod recipes;
mod world;

use std::collections::BTreeSet;

use loquat::{
    auth::{AuthError, Authenticator, Credential},
    config::{Settings, Sources, names::SETTINGS},
    lifecycle::Lifecycle,
};
use secrecy::SecretString;

use self::{
    pages::{Page, Row},
    recipes::{Case, RECIPES},
    world::World,
};
use crate::{
    auth::issuer::{offer, reason},
    support::program::Program,
};

/// What the log says instead of a reason where the keys are not there.
const NO_KEYS: &str = "could not fetch the key set of the issuer";

/// The pages on where servers stand and what they run, held by `tests/it/deploy/`, `tests/it/broker/` and
/// `tests/clients/persisted.test.mjs`. Whose tokens are believed is said elsewhere.
const DEPLOYMENT: [&str; 4] = [
    "persisted-operations.md",
    "pgbouncer.md",
    "proxies.md",
    "redis.md",
];

#[test]
fn every_page_has_its_recipe_and_is_linked() {
    // The clients are run by tests/clients/docs.test.mjs; the limits are held by tests/it/limits/.
    let without_issuer = ["README.md", "clients.md", "gateway.md", "limits.md"];
    let recipes = RECIPES.iter().map(|(name, _)| *name);
    let known: BTreeSet<_> = recipes.chain(without_issuer).chain(DEPLOYMENT).collect();
    let pages = Page::all();
    let written: BTreeSet<_> = pages.iter().map(|page| page.name.as_str()).collect();
    assert_eq!(written, known);
    let index = Page::read("README.md").text;
    for name in written {
        assert!(
            name == "README.md" || index.contains(&format!("]({name})")),
            "{name}"
        );
    }
}

#[test]
fn every_settings_block_is_one_that_the_server_starts_with() {
    for page in Page::all() {
        for block in page.blocks("env") {
            for environment in ["development", "production"] {
                let mut sources = Sources::default();
                if DEPLOYMENT.contains(&page.name.as_str()) {
                    sources = sources.variable("SUPABASE_PROJECT_URL", "https://abc.supabase.co");
                }
                let mut is_gateway = false;
                for (name, value) in pages::assignments(&block) {
                    let known = SETTINGS.iter().any(|setting| setting.variable == name);
                    assert!(known, "{}: {name}", page.name);
                    is_gateway |= name == "LOQUAT_GATEWAY_SECRET";
                    sources = sources.variable(&name, &value);
                }
                if !is_gateway {
                    sources = sources.variable("ENVIRONMENT", environment);
                }
                let settings = Settings::resolve(&sources);
                assert!(settings.is_ok(), "{}: {settings:?}\n{block}", page.name);
            }
        }
        for block in page.blocks("toml") {
            let settings = Sources::default()
                .dotenv(".env", recipes::TABLE_SECRETS)
                .and_then(|sources| sources.file("loquat.toml", &block))
                .and_then(|sources| Settings::resolve(&sources));
            assert!(settings.is_ok(), "{}: {settings:?}\n{block}", page.name);
        }
    }
}

#[tokio::test]
async fn every_recipe_lets_its_users_in_and_nothing_like_them() {
    for (name, recipe) in RECIPES {
        let world = World::start().await;
        let page = Page::read(name);
        let recipe = recipe(&page, &world);
        assert_eq!(
            recipe.genuine.len(),
            page.settings().len(),
            "{name}: a token for each block"
        );
        for (settings, genuine) in page.settings().iter().zip(&recipe.genuine) {
            let authenticator = authenticator(world.sources(settings));
            let identity = offer(&authenticator, genuine.token())
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}\n{settings:?}"));
            assert_eq!(identity.external_id, genuine.user, "{name}");
            assert_eq!(identity.is_admin, genuine.is_admin, "{name}");
            for (what, token) in genuine.near_misses() {
                let outcome = offer(&authenticator, token).await;
                assert_ne!(reason(&outcome), "accepted", "{name}: {what}\n{settings:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_row_of_the_tables_is_what_happens() {
    for (name, recipe) in RECIPES {
        let world = World::start().await;
        let page = Page::read(name);
        let cases = recipe(&page, &world).cases;
        let rows = page.rows();
        assert!(!rows.is_empty(), "{name}");
        let described: Vec<_> = rows.iter().map(|row| row.what.as_str()).collect();
        let tried: Vec<_> = cases.iter().map(|case| case.what).collect();
        assert_eq!(described, tried, "{name}: a case for each row");
        for (row, case) in rows.iter().zip(&cases) {
            hold(&page, row, case, &world).await;
        }
    }
}

async fn hold(page: &Page, row: &Row, case: &Case, world: &World) {
    let settings = page.settings()[0].with(&case.change);
    let at = format!("{}: {}", page.name, row.what);

    let outcome = offer(
        &authenticator(world.sources(&settings)),
        case.token.as_str(),
    )
    .await;
    match (&outcome, row.log.as_str()) {
        (Err(AuthError::Unavailable { .. }), NO_KEYS) => {}
        (Err(AuthError::Refused(reason)), log) => assert_eq!(reason.as_str(), log, "{at}"),
        (outcome, log) => panic!("{at}: {outcome:?}, not {log}"),
    }

    let program = Program::new(&["doctor", "--token", "-"]).input(&case.token);
    let output = world.program(program, &settings).output().await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{at}: {said}");
    let mut rest = said.as_str();
    for piece in row.doctor.split('…') {
        let Some((_, after)) = rest.split_once(piece) else {
            panic!("{at}: the doctor does not say {piece:?}: {said}");
        };
        rest = after;
    }
}

#[tokio::test]
async fn the_gateways_page_is_true() {
    let page = Page::read("gateway.md");
    let settings = page.settings().remove(0);
    let secret = settings.value("LOQUAT_GATEWAY_SECRET").to_owned();
    let with = |secret: &str, user: &str| Credential::Gateway {
        secret: SecretString::from(secret),
        user: user.to_owned(),
    };
    let trusting = authenticator(settings.sources());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a plain path");
    let other = authenticator(Sources::default().variable("LOQUAT_DATA_DIR", folder));
    let outcome = trusting.authenticate(&with(&secret, "4711")).await;
    assert_eq!(outcome.expect("accepted").issuer, "gateway");

    let rows = page.rows();
    let long = "4".repeat(256);
    for (row, authenticator, credential) in [
        (&rows[0], &trusting, with("another", "4711")),
        (&rows[1], &other, with(&secret, "4711")),
        (&rows[2], &trusting, with(&secret, &long)),
    ] {
        let outcome = authenticator.authenticate(&credential).await;
        let Err(AuthError::Refused(reason)) = outcome else {
            panic!("{}: {outcome:?}", row.what);
        };
        assert_eq!(reason.as_str(), row.log, "{}", row.what);
    }
    assert_eq!(rows.len(), 3);
}

fn authenticator(sources: Sources) -> Authenticator {
    let settings = Settings::resolve(&sources).expect("the settings are right");
    Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration")
}
