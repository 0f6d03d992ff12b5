//! How many connections the system lets this process have: each is a file descriptor.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{config::Settings, http::server};

/// Descriptors for what is neither a client's connection nor counted by a setting: those who are told
/// that there is no room, log files, Redis, key sets, a private cluster.
const RESERVE: u64 = 100 + server::MOST_REFUSALS as u64;

/// Raises the limit of descriptors as far as the system allows. As many connections as the settings
/// say, or fewer, where descriptors are short.
pub(super) fn connections(settings: &Settings) -> usize {
    let wanted = settings.max_connections;
    let others =
        RESERVE + u64::from(settings.database.max_connections) + u64::from(settings.chat.runs.most);
    let allowed = match raise() {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors is unknown");
            return wanted;
        }
    };
    let room = usize::try_from(allowed.saturating_sub(others)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            connections = room,
            "the system's limit of {allowed} file descriptors (ulimit -Hn) leaves room for fewer \
             connections than LOQUAT_MAX_CONNECTIONS says"
        );
    }
    // Some always: otherwise nobody could be told.
    wanted.min(room).max(1)
}

fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Some systems say that there is no limit, and take no such number.
    let is_raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(if is_raised { hard } else { soft })
}
