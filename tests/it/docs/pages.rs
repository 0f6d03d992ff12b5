//! The pages of docs/, as far as machines read them.

use std::{fs, path::Path};

use loquat::config::Sources;

use super::recipes::TABLE_SECRETS;

pub struct Page {
    pub name: String,
    pub text: String,
}

/// One line of a table of symptoms.
pub struct Row {
    pub what: String,
    pub log: String,
    /// Empty where the table has no such column. `…` stands for whatever differs.
    pub doctor: String,
}

/// One block of settings.
#[derive(Clone, Debug)]
pub enum Block {
    Variables(Vec<(String, String)>),
    /// The text of `loquat.toml`, and what is replaced in it.
    File(String),
}

impl Page {
    pub fn all() -> Vec<Self> {
        let mut pages: Vec<_> = fs::read_dir(folder())
            .expect("docs/")
            .map(|entry| entry.expect("a file").file_name())
            .map(|name| Self::read(&name.to_string_lossy()))
            .collect();
        pages.sort_by(|one, other| one.name.cmp(&other.name));
        pages
    }

    pub fn read(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: fs::read_to_string(folder().join(name)).expect("a page"),
        }
    }

    /// The fenced blocks of a language.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}\n");
        self.text
            .split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().expect("an end").to_owned())
            .collect()
    }

    pub fn settings(&self) -> Vec<Block> {
        let variables = self.blocks("env");
        let variables = variables
            .iter()
            .map(|block| Block::Variables(assignments(block)));
        let files = self.blocks("toml");
        variables
            .chain(files.into_iter().map(Block::File))
            .collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        self.text
            .lines()
            .skip_while(|line| !line.starts_with("| what is wrong |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
                let (doctor, mend) = match cells.as_slice() {
                    [_, _, doctor, mend] => (*doctor, *mend),
                    [_, _, mend] => ("", *mend),
                    _ => panic!("{}: {line}", self.name),
                };
                assert!(!mend.is_empty(), "{}: {line}", self.name);
                Row {
                    what: cells[0].to_owned(),
                    log: cells[1].to_owned(),
                    doctor: doctor.to_owned(),
                }
            })
            .collect()
    }
}

impl Block {
    /// The same, with other values: an empty one unsets. In a file, `name` is replaced by `value`.
    pub fn with(&self, change: &[(&str, String)]) -> Self {
        let mut changed = self.clone();
        for (name, value) in change {
            match &mut changed {
                Self::Variables(variables) => {
                    variables.retain(|(known, _)| known != name);
                    if !value.is_empty() {
                        variables.push(((*name).to_owned(), value.clone()));
                    }
                }
                Self::File(text) => {
                    assert!(text.contains(name), "{name}");
                    *text = text.replace(name, value);
                }
            }
        }
        changed
    }

    pub fn value(&self, wanted: &str) -> &str {
        let Self::Variables(variables) = self else {
            panic!("a file has no variables");
        };
        let found = variables.iter().find(|(name, _)| name == wanted);
        &found.unwrap_or_else(|| panic!("no {wanted}")).1
    }

    pub fn sources(&self) -> Sources {
        match self {
            Self::Variables(variables) => variables
                .iter()
                .fold(Sources::default(), |sources, (name, value)| {
                    sources.variable(name, value)
                }),
            Self::File(text) => Sources::default()
                .dotenv(".env", TABLE_SECRETS)
                .and_then(|sources| sources.file("loquat.toml", text))
                .expect("a settings file"),
        }
    }
}

/// `NAME=value` of each line.
pub fn assignments(block: &str) -> Vec<(String, String)> {
    block
        .lines()
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}
