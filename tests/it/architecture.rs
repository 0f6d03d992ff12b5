//! The directions in which modules may use each other, read from the sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// From the outside to the inside: a module may use those of later layers, and its own layer only
/// where that is the last.
const LAYERS: [&[&str]; 8] = [
    &["cli"],
    &["app"],
    &["http"],
    &["graphql"],
    &["chat", "accounts"],
    &["audit", "limits"],
    &["broker", "db", "llm"],
    &["auth", "model", "config", "lifecycle", "telemetry"],
];

/// Where a library may be named at all.
const LIBRARIES: [(&str, &[&str]); 3] = [
    ("async_graphql", &["graphql", "http"]),
    ("sqlx", &["db"]),
    ("async_openai", &["llm"]),
];

#[test]
fn modules_use_only_what_lies_further_in() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let layer = layer_of(&module);
        for used in paths_after("crate::", &text) {
            let allowed = used == module
                || layer_of(&used) > layer
                || layer == LAYERS.len() - 1 && layer_of(&used) == layer;
            if !allowed {
                wrong.push(format!("{}: {module} uses {used}", path.display()));
            }
            seen.insert((module.clone(), used));
        }
    }
    assert!(
        seen.contains(&("chat".to_owned(), "db".to_owned())),
        "the sources were read"
    );
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        for (library, homes) in LIBRARIES {
            let named =
                text.contains(&format!("{library}::")) || text.contains(&format!("use {library}"));
            if named && !homes.contains(&module.as_str()) {
                wrong.push(format!("{} names {library}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

fn layer_of(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} has no layer"))
}

/// Every source file but the two roots: its module, its path, its text.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).expect("inside").to_path_buf();
            let first = inside.iter().next().expect("a name").to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            if module != "main" && module != "lib" {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((module, inside, text));
            }
        }
    }
    found
}

/// The first name after each `prefix`, and each name of a group of them.
fn paths_after(prefix: &str, text: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let name =
        |text: &str| -> String { text.chars().take_while(|letter| is_name(*letter)).collect() };
    let mut names = BTreeSet::new();
    for (index, _) in text.match_indices(prefix) {
        let rest = &text[index + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                letter if start && depth == 0 && is_name(letter) => {
                    names.insert(name(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}
