use std::{collections::BTreeMap, fmt};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::names::SETTINGS;

/// Every setting as a flag, made from the one list of settings so that no name can differ.
#[derive(Clone, Default)]
pub(super) struct Flags {
    values: BTreeMap<&'static str, String>,
}

impl Flags {
    /// The values by the settings' keys.
    pub(super) fn into_values(self) -> BTreeMap<&'static str, String> {
        self.values
    }
}

/// The names alone: a value may be a secret.
impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| {
            command.arg(
                Arg::new(setting.key)
                    // Made once a process; the parser wants names that live for ever.
                    .long(&*setting.flag().leak())
                    .global(true)
                    .value_name(setting.variable)
                    .help(setting.help)
                    .help_heading("Settings (the flag, and the environment variable)"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.key) {
                self.values.insert(setting.key, value.clone());
            }
        }
        Ok(())
    }
}
