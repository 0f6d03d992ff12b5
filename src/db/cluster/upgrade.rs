use std::path::Path;

use super::{ClusterError, NAME, binaries::Binaries, home::Home, initdb};

/// Why a cluster of this major does not start, and how its data gets into another.
///
/// `old` are programs of the cluster's major, `other` of another. `chosen`: the latter are what
/// `LOQUAT_POSTGRES_BIN` names.
pub(super) fn error(
    home: &Home,
    major: u32,
    old: Option<&Binaries>,
    other: Option<&Binaries>,
    chosen: bool,
) -> ClusterError {
    let found = match other {
        None => "of which there is none here".to_owned(),
        Some(other) if chosen => {
            format!(
                "and LOQUAT_POSTGRES_BIN names PostgreSQL {}",
                other.version()
            )
        }
        Some(other) => format!(
            "of which there is none here (but {} in {})",
            other.version(),
            other.bin().display()
        ),
    };
    let upgrade = match other {
        Some(other) if other.version().major > major => {
            let new = other.version().major;
            match old {
                Some(old) => format!(
                    ", or upgrade the data to {new}: {}",
                    command(home, major, old.bin(), other)
                ),
                None => format!(
                    ", or upgrade the data to {new}, with OLD as that folder: {}",
                    command(home, major, Path::new("OLD"), other)
                ),
            }
        }
        _ => String::new(),
    };
    ClusterError::OtherMajor {
        folder: home.path().to_owned(),
        major,
        found,
        upgrade,
    }
}

/// One line for a shell that makes a cluster of the newer major, moves the data, and keeps the
/// older cluster beside it. The script that `pg_upgrade` leaves to delete the older one names the
/// folder by which the newer one goes in the end: it must not stay.
fn command(home: &Home, major: u32, old: &Path, new: &Binaries) -> String {
    let mut options: Vec<&str> = initdb::locales(new.version().major)[0].to_vec();
    let common = initdb::options();
    options.extend(common.iter().map(String::as_str));
    let work = format!(
        "cd {home} && {initdb} -D upgraded --pwfile=password {options} && \
         PGPASSWORD=$(cat password) {pg_upgrade} -U {NAME} -b {old} -B {bin} -d cluster \
         -D upgraded -s /tmp && rm delete_old_cluster.sh && mv cluster cluster-{major} && mv upgraded cluster",
        home = quoted(&home.path().to_string_lossy()),
        initdb = quoted(&new.program("initdb").to_string_lossy()),
        pg_upgrade = quoted(&new.program("pg_upgrade").to_string_lossy()),
        old = quoted(&old.to_string_lossy()),
        bin = quoted(&new.bin().to_string_lossy()),
        options = options.join(" "),
    );
    if home.account().is_other() {
        format!(
            "su -s /bin/sh {} -c {}",
            home.account().name(),
            quoted(&work)
        )
    } else {
        work
    }
}

/// A word for a shell, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(
            quoted("/usr/lib/postgresql/16/bin"),
            "/usr/lib/postgresql/16/bin"
        );
        assert_eq!(quoted("/srv/my data"), "'/srv/my data'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
