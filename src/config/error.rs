use std::path::PathBuf;

use super::{names::Setting, sources::Origin};

/// Why the settings cannot be used. Displayed as one line that names the setting, as its user
/// wrote it, and the mend; never the value of a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{origin}: cannot read {}: {source}", path.display())]
    UnreadableFile {
        origin: Origin,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{file}: {}cannot be read as TOML: {problem}", at(*line))]
    MalformedFile {
        file: String,
        line: Option<usize>,
        problem: String,
    },
    #[error("{file}: cannot be read: {problem}")]
    MalformedDotenv { file: String, problem: String },
    #[error("{file}: unknown key `{key}`; {}", mend_of(*meant))]
    UnknownKey {
        file: String,
        key: String,
        meant: Option<&'static Setting>,
    },
    #[error("{table}: unknown key `{key}`; {}", mend_in_table(*meant))]
    UnknownIssuerKey {
        table: Origin,
        key: String,
        meant: Option<&'static str>,
    },
    #[error("{origin}: {problem}")]
    Invalid { origin: Origin, problem: String },
    #[error("{first} and {second} contradict each other: {mend}")]
    Contradiction {
        first: Origin,
        second: Origin,
        mend: String,
    },
    #[error("{origin} {needs}")]
    Incomplete { origin: Origin, needs: String },
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!("line {line} ")).unwrap_or_default()
}

fn mend_of(meant: Option<&Setting>) -> String {
    match meant {
        Some(setting) => format!("the key is `{}`", setting.key),
        None => "loquat.example.toml lists the keys".to_owned(),
    }
}

fn mend_in_table(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("the key is `{meant}`"),
        None => "loquat.example.toml lists the keys".to_owned(),
    }
}
