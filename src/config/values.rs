//! Values that several settings share: numbers, words, lists, URLs and origins.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use url::Url;

use super::{
    SettingsError,
    names::Setting,
    sources::{Found, Sources},
};

pub(super) fn invalid(found: &Found, problem: String) -> SettingsError {
    SettingsError::Invalid {
        origin: found.origin.clone(),
        problem,
    }
}

/// A whole number of a range, or the default.
pub(super) fn number<N>(
    sources: &Sources,
    setting: &'static Setting,
    range: RangeInclusive<N>,
    default: N,
) -> Result<N, SettingsError>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(found) = sources.find(setting) else {
        return Ok(default);
    };
    found
        .value
        .trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            invalid(
                &found,
                format!(
                    "`{}` is not a whole number from {} to {}",
                    found.value.trim(),
                    range.start(),
                    range.end()
                ),
            )
        })
}

/// A whole number of seconds of a range, or the default.
pub(super) fn seconds(
    sources: &Sources,
    setting: &'static Setting,
    range: RangeInclusive<u32>,
    default: u32,
) -> Result<Duration, SettingsError> {
    number(sources, setting, range, default).map(|seconds| Duration::from_secs(seconds.into()))
}

/// One of a few words, in either case.
pub(super) fn one_of<T: Copy>(
    sources: &Sources,
    setting: &'static Setting,
    choices: &[(&str, T)],
) -> Result<Option<T>, SettingsError> {
    let Some(found) = sources.find(setting) else {
        return Ok(None);
    };
    let written = found.value.trim();
    match choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(written))
    {
        Some((_, choice)) => Ok(Some(*choice)),
        None => {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            Err(invalid(
                &found,
                format!("`{written}` is not one of {}", words.join(", ")),
            ))
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(
    sources: &Sources,
    setting: &'static Setting,
) -> Result<Option<bool>, SettingsError> {
    one_of(sources, setting, &[("true", true), ("false", false)])
}

/// The items of a comma-separated list.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// The name of one model.
pub(super) fn model_name(found: &Found) -> Result<String, SettingsError> {
    let name = found.value.trim();
    if name == "*" || name.contains(',') || name.chars().any(char::is_control) {
        return Err(invalid(
            found,
            "names one model; LOQUAT_MODELS lists those that a user may choose".to_owned(),
        ));
    }
    Ok(name.to_owned())
}

/// An `http` or `https` URL that ends without a slash, query and fragment.
pub(super) fn web_url(found: &Found) -> Result<Url, SettingsError> {
    let problem = |problem: &str| {
        invalid(
            found,
            format!("{problem}; write it as https://host or https://host/path"),
        )
    };
    let written = found.value.trim();
    let url = Url::parse(written.trim_end_matches('/'))
        .map_err(|error| problem(&format!("is not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem("is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("must not hold a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(problem("must not hold a query or a fragment"));
    }
    Ok(url)
}

/// The URL as text without the slash that stands for an empty path.
pub(super) fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// An origin exactly as a browser sends it, or what is wrong with it.
pub(super) fn cors_origin(written: &str) -> Result<String, String> {
    if written == "*" {
        return Err("`*` is not an origin; name each, such as https://app.example.com".to_owned());
    }
    let example = || format!("`{written}` is not an exact origin, such as https://app.example.com");
    let url = Url::parse(written).map_err(|_| example())?;
    let exact = match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        // The origins of packaged apps, such as capacitor://localhost.
        scheme => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) if !host.is_empty() => format!("{scheme}://{host}:{port}"),
            (Some(host), None) if !host.is_empty() => format!("{scheme}://{host}"),
            _ => return Err(example()),
        },
    };
    if exact == written {
        Ok(exact)
    } else {
        Err(format!(
            "`{written}` is not an exact origin; write `{exact}`"
        ))
    }
}
