//! The settings, and that what is documented of them is so.

use std::{fs, path::Path, time::Duration};

use loquat::{
    config::{LimitSettings, Settings, Sources, names::SETTINGS},
    model::Limit,
};

/// Each setting, a value within its range, the limit that it sets, and its default.
const CHOSEN: [(&str, u64, Limit, u64); 13] = [
    ("LOQUAT_MAX_BODY_BYTES", 2_000, Limit::BodyBytes, 1_048_576),
    ("LOQUAT_MAX_BATCH", 7, Limit::Batch, 1),
    ("LOQUAT_REQUEST_SECONDS", 8, Limit::RequestSeconds, 30),
    ("LOQUAT_MAX_DOCUMENT_TOKENS", 1_100, Limit::Tokens, 10_000),
    ("LOQUAT_MAX_DEFINITIONS", 11, Limit::Definitions, 200),
    ("LOQUAT_MAX_FIELDS", 112, Limit::Fields, 2_000),
    ("LOQUAT_MAX_DEPTH", 13, Limit::Depth, 20),
    ("LOQUAT_MAX_ALIASES", 0, Limit::Aliases, 200),
    ("LOQUAT_MAX_DIRECTIVES", 15, Limit::Directives, 200),
    ("LOQUAT_MAX_COST", 116, Limit::Cost, 25_000),
    (
        "LOQUAT_MAX_SOCKET_OPERATIONS",
        17,
        Limit::SocketOperations,
        100,
    ),
    (
        "LOQUAT_MAX_CONNECTIONS_PER_USER",
        18,
        Limit::Connections,
        100,
    ),
    (
        "LOQUAT_MAX_IN_FLIGHT_BYTES",
        9_000_000,
        Limit::InFlightBytes,
        134_217_728,
    ),
];

fn limits(chosen: &[(&str, u64)]) -> Result<LimitSettings, String> {
    let sources = chosen
        .iter()
        .fold(Sources::default(), |sources, (name, value)| {
            sources.variable(name, &value.to_string())
        });
    match Settings::resolve(&sources) {
        Ok(settings) => Ok(settings.limits),
        Err(error) => Err(error.to_string()),
    }
}

fn value(limits: &LimitSettings, limit: Limit) -> u64 {
    let LimitSettings { document, request } = limits;
    match limit {
        Limit::BodyBytes => request.body_bytes as u64,
        Limit::Batch => request.batch as u64,
        Limit::RequestSeconds => request.time.as_secs(),
        Limit::Tokens => document.tokens,
        Limit::Definitions => document.definitions,
        Limit::Fields => document.fields,
        Limit::Depth => document.depth,
        Limit::Aliases => document.aliases,
        Limit::Directives => document.directives,
        Limit::Cost => document.cost,
        Limit::SocketOperations => request.socket_operations as u64,
        Limit::Connections => request.connections_per_user as u64,
        Limit::InFlightBytes => request.in_flight_bytes as u64,
        other => panic!("{} cannot be chosen", other.name()),
    }
}

#[test]
fn each_limit_can_be_chosen_and_has_its_default() {
    let silent = limits(&[]).expect("the defaults");
    assert_eq!(silent, LimitSettings::default());
    let all: Vec<_> = CHOSEN
        .iter()
        .map(|(name, chosen, ..)| (*name, *chosen))
        .collect();
    let told = limits(&all).expect("right");
    for (name, chosen, limit, default) in CHOSEN {
        assert_eq!(value(&silent, limit), default, "{name}");
        assert_eq!(value(&told, limit), chosen, "{name}");
    }
    assert_eq!(told.request.time, Duration::from_secs(8));
}

#[test]
fn what_would_turn_the_server_or_a_limit_off_stops_the_start() {
    for (name, least, most) in [
        ("LOQUAT_MAX_BODY_BYTES", 1024, 67_108_864),
        ("LOQUAT_MAX_BATCH", 1, 100),
        ("LOQUAT_REQUEST_SECONDS", 1, 3600),
        ("LOQUAT_MAX_DOCUMENT_TOKENS", 100, 1_000_000),
        ("LOQUAT_MAX_DEFINITIONS", 1, 10_000),
        ("LOQUAT_MAX_FIELDS", 10, 100_000),
        ("LOQUAT_MAX_DEPTH", 2, 32),
        ("LOQUAT_MAX_ALIASES", 0, 100_000),
        ("LOQUAT_MAX_DIRECTIVES", 0, 100_000),
        ("LOQUAT_MAX_COST", 10, 1_000_000_000),
        ("LOQUAT_MAX_SOCKET_OPERATIONS", 1, 10_000),
        ("LOQUAT_MAX_CONNECTIONS_PER_USER", 1, 100_000_u64),
        ("LOQUAT_MAX_IN_FLIGHT_BYTES", 8_388_608, 68_719_476_736),
    ] {
        for good in [least, most] {
            limits(&[(name, good)]).expect(name);
        }
        let mut wrong = vec![(most + 1).to_string(), "many".to_owned(), "-1".to_owned()];
        wrong.extend(least.checked_sub(1).map(|less| less.to_string()));
        for wrong in wrong {
            let sources = Sources::default().variable(name, &wrong);
            let error = Settings::resolve(&sources).expect_err(name).to_string();
            assert_eq!(
                error,
                format!("{name}: `{wrong}` is not a whole number from {least} to {most}")
            );
        }
    }
}

#[test]
fn a_limit_that_another_one_keeps_from_being_reached_stops_the_start() {
    for (chosen, problem) in [
        (
            [
                ("LOQUAT_MAX_DOCUMENT_TOKENS", 5_000),
                ("LOQUAT_MAX_BODY_BYTES", 4_000),
            ],
            "LOQUAT_MAX_DOCUMENT_TOKENS and LOQUAT_MAX_BODY_BYTES contradict each other: each token takes a byte of the body at least, so the first may be 4000 at most",
        ),
        (
            [("LOQUAT_MAX_ALIASES", 51), ("LOQUAT_MAX_FIELDS", 50)],
            "LOQUAT_MAX_ALIASES and LOQUAT_MAX_FIELDS contradict each other: an alias stands before a field, so the first may be 50 at most",
        ),
        (
            [("LOQUAT_MAX_DEPTH", 12), ("LOQUAT_MAX_FIELDS", 11)],
            "LOQUAT_MAX_DEPTH and LOQUAT_MAX_FIELDS contradict each other: each level is a field at least, so the first may be 11 at most",
        ),
        (
            [
                ("LOQUAT_MAX_CONNECTIONS_PER_USER", 51),
                ("LOQUAT_MAX_CONNECTIONS", 50),
            ],
            "LOQUAT_MAX_CONNECTIONS_PER_USER and LOQUAT_MAX_CONNECTIONS contradict each other: one user has no more than all of them, so the first may be 50 at most",
        ),
        (
            [
                ("LOQUAT_MAX_BODY_BYTES", 2_500_001),
                ("LOQUAT_MAX_IN_FLIGHT_BYTES", 10_000_000),
            ],
            "LOQUAT_MAX_BODY_BYTES and LOQUAT_MAX_IN_FLIGHT_BYTES contradict each other: a body takes up more than its size while it is read, and others are under way, so the first may be 2500000 at most",
        ),
    ] {
        assert_eq!(limits(&chosen).expect_err("contradictory"), problem);
        // One alone is not held against the other's default.
        for (name, value) in chosen {
            limits(&[(name, value)]).expect(name);
        }
    }
}

#[test]
fn the_page_of_limits_has_a_heading_for_each_and_the_settings_with_their_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    let page = fs::read_to_string(path).expect("docs/limits.md");
    let sections: Vec<_> = page
        .split("\n### ")
        .skip(1)
        .map(|section| section.split_once('\n').expect("a heading"))
        .collect();
    let headings: Vec<_> = sections.iter().map(|(heading, _)| *heading).collect();
    let names: Vec<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
    assert_eq!(headings, names);
    for limit in Limit::ALL {
        let (_, anchor) = limit
            .documentation()
            .split_once('#')
            .map(|(page, anchor)| {
                assert_eq!(page, "docs/limits.md");
                ((), anchor.to_owned())
            })
            .expect("an anchor");
        // As GitHub makes them of headings.
        assert_eq!(anchor, limit.name().to_lowercase());
    }
    for (name, _, limit, default) in CHOSEN {
        let (_, text) = sections
            .iter()
            .find(|(heading, _)| *heading == limit.name())
            .expect("a section");
        assert!(
            text.contains(&format!("`{name}`, {default} by default")),
            "{name}: {text}"
        );
        let setting = SETTINGS.iter().find(|setting| setting.variable == name);
        assert!(
            setting.expect(name).help.contains(&default.to_string()),
            "{name}"
        );
    }
}
