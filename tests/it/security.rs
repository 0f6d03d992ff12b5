//! The promises of SECURITY.md that name what holds them: it must be there.

use std::{collections::BTreeSet, fs, path::Path};

use loquat::config::names::SETTINGS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_point_of_owasp_is_held_by_something_that_exists() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    let (_, points) = text.split_once("## OWASP").expect("a part on OWASP");
    let rows: Vec<Vec<&str>> = points
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| point "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let numbers: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| row[0].strip_prefix("API"))
        .map(|rest| rest.split([' ', ',']).next().expect("a number"))
        .collect();
    assert_eq!(numbers.len(), 10, "the ten points: {numbers:?}");

    for row in &rows {
        let [point, _, holders] = row.as_slice() else {
            panic!("{row:?}");
        };
        let holders: Vec<_> = quoted(holders).collect();
        assert!(!holders.is_empty(), "{point}: nothing holds it");
        for holder in holders {
            assert!(
                exists(holder),
                "{point}: there is no {holder}; SECURITY.md must name it where it is now"
            );
        }
    }
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A test by its name, a setting by its variable, or a file.
fn exists(holder: &str) -> bool {
    match holder.rsplit_once("::") {
        Some((module, test)) => sources_of(module)
            .iter()
            .any(|text| text.contains(&format!("fn {test}("))),
        None if holder.contains(['/', '.']) => root().join(holder).is_file(),
        None => SETTINGS.iter().any(|setting| setting.variable == holder),
    }
}

/// The files that a module of tests may be: among the integration tests, or inside the sources.
fn sources_of(module: &str) -> Vec<String> {
    let path = module.trim_end_matches("::tests").replace("::", "/");
    ["tests/it", "src"]
        .into_iter()
        .flat_map(|folder| {
            [
                format!("{folder}/{path}.rs"),
                format!("{folder}/{path}/mod.rs"),
                format!("{folder}/{path}/tests.rs"),
            ]
        })
        .filter_map(|file| fs::read_to_string(root().join(file)).ok())
        .collect()
}
