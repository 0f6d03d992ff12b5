use std::io::Write;

use super::Failure;

/// Prints the schema as the server has it.
pub(super) fn run() -> Result<(), Failure> {
    std::io::stdout()
        .write_all(crate::graphql::sdl().as_bytes())
        .map_err(|error| Failure::Unforeseen(error.into()))
}
