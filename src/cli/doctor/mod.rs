//! `loquat doctor`: what keeps the server from working, or a token from being accepted.
//!
//! Invariant: it changes nothing (a private database that does not run is started for the look, and
//! stopped again), and prints neither a token nor a secret nor an address of a person. One line a
//! finding, on standard output; exit code 1 when one of them is a problem.

mod checks;
mod token;

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use clap::Args;
use secrecy::SecretString;

use super::Failure;
use crate::config::{Settings, SettingsError};

#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Say why this token is refused; `-` reads it from standard input, so that it stands neither
    /// in the list of processes nor in the shell's history
    #[arg(long, value_name = "TOKEN", value_parser = secret, allow_hyphen_values = true)]
    token: Option<SecretString>,
}

/// What cannot fail: whatever was written may be a token.
fn secret(written: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(written))
}

pub(super) fn run(
    settings: Result<Settings, SettingsError>,
    doctor: &Doctor,
) -> Result<ExitCode, Failure> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            return Report::of(vec![Finding::problem("settings", error.to_string())]).print();
        }
    };
    let report = match &doctor.token {
        None => super::runtime()?.block_on(checks::all(&settings)),
        Some(token) => {
            let token = read(token)?;
            super::runtime()?.block_on(token::explain(&settings, &token))?
        }
    };
    report.print()
}

/// The token itself, as it was copied: blanks around it, and `Bearer`, do no harm.
fn read(written: &SecretString) -> Result<String, Failure> {
    use secrecy::ExposeSecret;

    let mut text = written.expose_secret().to_owned();
    if text == "-" {
        text.clear();
        io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(|error| Failure::Unforeseen(error.into()))?;
    }
    let text = text.trim();
    let bare = match text.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    };
    Ok(bare.to_owned())
}

/// No token is as long, in bytes.
const MAX_INPUT: u64 = 1024 * 1024;

/// All findings, and whether they are good.
struct Report {
    findings: Vec<Finding>,
    is_healthy: bool,
}

struct Finding {
    verdict: &'static str,
    /// What was looked at.
    subject: String,
    text: String,
}

impl Finding {
    fn ok(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new("ok", subject, text)
    }

    fn problem(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(PROBLEM, subject, text)
    }

    fn new(verdict: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            verdict,
            subject: subject.into(),
            text: text.into(),
        }
    }
}

const PROBLEM: &str = "problem";

impl Report {
    /// Healthy without a problem.
    fn of(findings: Vec<Finding>) -> Self {
        Self {
            is_healthy: findings.iter().all(|finding| finding.verdict != PROBLEM),
            findings,
        }
    }

    fn print(self) -> Result<ExitCode, Failure> {
        let mut lines = String::new();
        for Finding {
            verdict,
            subject,
            text,
        } in &self.findings
        {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.push_str(&format!("{verdict:8}  {subject}: {text}\n"));
        }
        io::stdout()
            .write_all(lines.as_bytes())
            .map_err(|error| Failure::Unforeseen(error.into()))?;
        Ok(match self.is_healthy {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
