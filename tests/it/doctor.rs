//! What `loquat doctor` finds, and what it never says.

mod checks;
mod token;

use crate::support::program::Program;

/// Its exit code, and its lines.
pub async fn doctor(program: Program) -> (Option<i32>, Vec<String>) {
    let output = program.output().await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).expect("text");
    (
        output.status.code(),
        text.lines().map(str::to_owned).collect(),
    )
}

/// The line about something.
fn about<'a>(lines: &'a [String], subject: &str) -> &'a str {
    let has_subject = |line: &&String| {
        line.split_once("  ")
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(&format!("{subject}: ")))
    };
    lines
        .iter()
        .find(has_subject)
        .unwrap_or_else(|| panic!("nothing about {subject}: {lines:#?}"))
}
