//! Where settings come from, strongest first: flags, the environment, `.env.local`, `.env`, and
//! the settings file. Nothing here knows what a value means.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::SettingsError,
    names::{
        self, SETTINGS, Setting,
        issuer::{self, IssuerKey},
    },
    tables::{self, IssuerTable, TableValues},
};

/// The name of a setting as its user wrote it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static Setting),
    Variable(&'static str),
    Dotenv {
        file: &'static str,
        variable: &'static str,
    },
    File {
        file: String,
        key: &'static str,
    },
    /// A key of an `[[issuers]]` table, or, without one, the table.
    Table {
        table: Arc<IssuerTable>,
        key: Option<IssuerKey>,
    },
    /// Nobody wrote it: the name by which it could be set.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(setting) => write!(f, "--{}", setting.flag()),
            Self::Variable(variable) | Self::Default(variable) => f.write_str(variable),
            Self::Dotenv { file, variable } => write!(f, "{variable} in {file}"),
            Self::File { file, key } => write!(f, "{key} in {file}"),
            Self::Table { table, key: None } => write!(f, "{table}"),
            Self::Table {
                table,
                key: Some(key),
            } => write!(f, "{} in {table}", key.key),
        }
    }
}

/// One setting's value, not yet checked. Its `Debug` shows no value: it may be a secret.
#[derive(Clone)]
pub struct Found {
    pub value: String,
    pub origin: Origin,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found({})", self.origin)
    }
}

/// Under which name each setting was written.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    written: BTreeMap<&'static str, Origin>,
}

impl Origins {
    /// The setting as its user wrote it, if anybody did.
    pub fn written(&self, setting: &Setting) -> Option<Origin> {
        self.written.get(setting.key).cloned()
    }

    /// The same, or the variable by which it could be set.
    pub fn of(&self, setting: &Setting) -> Origin {
        self.written(setting)
            .unwrap_or(Origin::Default(setting.variable))
    }
}

/// Everything that was written anywhere, by variable in the environment and by key elsewhere.
#[derive(Clone, Default)]
pub struct Sources {
    flags: BTreeMap<&'static str, String>,
    /// Others than the settings' own, too: a table may name one.
    environment: BTreeMap<String, String>,
    dotenv: Vec<(&'static str, BTreeMap<String, String>)>,
    file: Option<(String, BTreeMap<&'static str, String>)>,
    issuers: Vec<(Arc<IssuerTable>, TableValues)>,
}

impl Sources {
    /// Reads the environment, the dotenv files of the current folder and the settings file.
    pub fn load(flags: BTreeMap<&'static str, String>) -> Result<Self, SettingsError> {
        let mut sources = Self {
            flags,
            ..Self::default()
        };
        for variable in variables() {
            if let Some(value) = std::env::var_os(variable) {
                let value = utf8(value, || Origin::Variable(variable))?;
                sources = sources.variable(variable, &value);
            }
        }
        for file in [".env.local", ".env"] {
            match std::fs::read_to_string(file) {
                Ok(text) => sources = sources.dotenv(file, &text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(SettingsError::MalformedDotenv {
                        file: file.to_owned(),
                        problem: error.to_string(),
                    });
                }
            }
        }
        let (origin, path) = match sources.find(&names::CONFIG) {
            Some(found) => (found.origin, PathBuf::from(found.value)),
            None if Path::new("loquat.toml").exists() => (
                Origin::Default("LOQUAT_CONFIG"),
                PathBuf::from("loquat.toml"),
            ),
            None => return Ok(sources),
        };
        let text =
            std::fs::read_to_string(&path).map_err(|source| SettingsError::UnreadableFile {
                origin,
                path: path.clone(),
                source,
            })?;
        sources.file(&path.display().to_string(), &text)?.named()
    }

    /// Reads the variables of the environment that the tables name.
    fn named(mut self) -> Result<Self, SettingsError> {
        for (table, values) in &self.issuers {
            for key in [issuer::SECRET_VARIABLE, issuer::PREVIOUS_SECRET_VARIABLE] {
                let name = values.get(key.key).and_then(toml::Value::as_str);
                let Some(name) = name.map(str::trim) else {
                    continue;
                };
                if let Some(value) = std::env::var_os(name) {
                    let value = utf8(value, || table.key(key))?;
                    self.environment.insert(name.to_owned(), value);
                }
            }
        }
        Ok(self)
    }

    pub fn flag(mut self, setting: &Setting, value: &str) -> Self {
        self.flags.insert(setting.key, value.to_owned());
        self
    }

    /// A variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The text of a dotenv file, weaker than those given before.
    pub fn dotenv(mut self, file: &'static str, text: &str) -> Result<Self, SettingsError> {
        let mut found = BTreeMap::new();
        for pair in dotenvy::from_read_iter(text.as_bytes()) {
            // The library's own words would show the line, which may hold a secret.
            let (name, value) = pair.map_err(|_| SettingsError::MalformedDotenv {
                file: file.to_owned(),
                problem: "a line is not NAME=value; put quotes around a value that holds spaces"
                    .to_owned(),
            })?;
            found.insert(name, value);
        }
        self.dotenv.push((file, found));
        Ok(self)
    }

    /// The text of the settings file.
    pub fn file(mut self, file: &str, text: &str) -> Result<Self, SettingsError> {
        let table: toml::Table =
            text.parse()
                .map_err(|error: toml::de::Error| SettingsError::MalformedFile {
                    file: file.to_owned(),
                    line: error
                        .span()
                        .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
                    problem: error.message().replace('\n', ", "),
                })?;
        let mut found = BTreeMap::new();
        for (key, value) in table {
            if key == tables::ISSUERS {
                self.issuers = tables::read(file, value)?;
                continue;
            }
            let setting = match Setting::by_key(&key) {
                Some(setting) if setting.key != names::CONFIG.key => setting,
                _ => {
                    return Err(SettingsError::UnknownKey {
                        file: file.to_owned(),
                        meant: Setting::by_any_name(&key)
                            .filter(|setting| setting.key != names::CONFIG.key),
                        key,
                    });
                }
            };
            let value = plain(value).ok_or_else(|| SettingsError::Invalid {
                origin: Origin::File {
                    file: file.to_owned(),
                    key: setting.key,
                },
                problem: "must be a string, a number, true or false, or a list of strings"
                    .to_owned(),
            })?;
            found.insert(setting.key, value);
        }
        self.file = Some((file.to_owned(), found));
        Ok(self)
    }

    pub(super) fn origins(&self) -> Origins {
        Origins {
            written: SETTINGS
                .iter()
                .filter_map(|setting| Some((setting.key, self.find(setting)?.origin)))
                .collect(),
        }
    }

    /// The `[[issuers]]` tables.
    pub(super) fn issuers(&self) -> &[(Arc<IssuerTable>, TableValues)] {
        &self.issuers
    }

    /// The value of a variable that a table names: of the environment, else of the dotenv files.
    pub(super) fn value_of(&self, variable: &str) -> Option<&str> {
        let dotenv = self.dotenv.iter().map(|(_, found)| found);
        [&self.environment]
            .into_iter()
            .chain(dotenv)
            .find_map(|found| found.get(variable).filter(|value| !value.trim().is_empty()))
            .map(String::as_str)
    }

    /// The strongest value of a setting. An empty one counts as not written.
    pub(super) fn find(&self, setting: &'static Setting) -> Option<Found> {
        let written =
            |value: Option<&String>| value.filter(|value| !value.trim().is_empty()).cloned();
        let variables = || std::iter::once(setting.variable).chain(setting.other_variable);

        if let Some(value) = written(self.flags.get(setting.key)) {
            return Some(Found {
                value,
                origin: Origin::Flag(setting),
            });
        }
        for variable in variables() {
            if let Some(value) = written(self.environment.get(variable)) {
                return Some(Found {
                    value,
                    origin: Origin::Variable(variable),
                });
            }
        }
        for (file, found) in &self.dotenv {
            for variable in variables() {
                if let Some(value) = written(found.get(variable)) {
                    return Some(Found {
                        value,
                        origin: Origin::Dotenv { file, variable },
                    });
                }
            }
        }
        let (file, found) = self.file.as_ref()?;
        Some(Found {
            value: written(found.get(setting.key))?,
            origin: Origin::File {
                file: file.clone(),
                key: setting.key,
            },
        })
    }
}

fn utf8(value: OsString, origin: impl Fn() -> Origin) -> Result<String, SettingsError> {
    value.into_string().map_err(|_| SettingsError::Invalid {
        origin: origin(),
        problem: "is not UTF-8; write it in UTF-8".to_owned(),
    })
}

fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .flat_map(|setting| std::iter::once(setting.variable).chain(setting.other_variable))
}

/// A value of the file as it would stand in a variable.
fn plain(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::String(text) => Some(text),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
