//! What the model is told and shown, and what is kept of its time.

use std::ops::RangeInclusive;

use super::{
    ChatSettings, ContextSettings, RunSettings, SettingsError, TitleSettings, names,
    sources::{Found, Sources},
    values::{invalid, list, model_name, number, one_of, seconds},
};

/// How many tokens a model may read, and how many a reply may have: no model has fewer of the first,
/// and a larger number is a slip.
const CONTEXTS: RangeInclusive<u32> = 256..=100_000_000;

pub(super) fn resolve(sources: &Sources) -> Result<ChatSettings, SettingsError> {
    let defaults = ChatSettings::default();
    let context = context(sources)?;
    Ok(ChatSettings {
        greeting: prose(sources, &names::GREETING)?,
        system_prompt: prose(sources, &names::SYSTEM_PROMPT)?,
        max_reply_tokens: max_reply_tokens(sources, &context)?,
        context,
        reply_timeout: seconds(
            sources,
            &names::REPLY_SECONDS,
            1..=86_400,
            u32::try_from(defaults.reply_timeout.as_secs()).unwrap_or(u32::MAX),
        )?,
        titles: titles(sources)?,
        runs: runs(sources)?,
    })
}

/// Text for people or the model. PostgreSQL cannot store U+0000.
fn prose(
    sources: &Sources,
    setting: &'static names::Setting,
) -> Result<Option<String>, SettingsError> {
    match sources.find(setting) {
        Some(found) if found.value.contains('\0') => Err(invalid(
            &found,
            "holds the character U+0000; leave it out".to_owned(),
        )),
        found => Ok(found.map(|found| found.value)),
    }
}

fn context(sources: &Sources) -> Result<ContextSettings, SettingsError> {
    let mut context = ContextSettings::default();
    let Some(found) = sources.find(&names::CONTEXT_TOKENS) else {
        return Ok(context);
    };
    for item in list(&found.value) {
        let (model, number) = match item.rsplit_once('=') {
            Some((model, number)) => (Some(model.trim()), number.trim()),
            None => (None, item),
        };
        let tokens = number
            .parse()
            .ok()
            .filter(|tokens| CONTEXTS.contains(tokens))
            .ok_or_else(|| {
                let (least, most) = (CONTEXTS.start(), CONTEXTS.end());
                invalid(
                    &found,
                    format!(
                        "`{item}` is neither a whole number from {least} to {most} nor a model \
                         and such a number, as in small=8192"
                    ),
                )
            })?;
        let before = match model {
            Some(model) => context.models.insert(model.to_owned(), tokens),
            None => context.every.replace(tokens),
        };
        if before.is_some_and(|before| before != tokens) {
            let problem = format!("says two things of {}", model.unwrap_or("every model"));
            return Err(invalid(&found, problem));
        }
    }
    Ok(context)
}

fn max_reply_tokens(
    sources: &Sources,
    context: &ContextSettings,
) -> Result<Option<u32>, SettingsError> {
    let Some(found) = sources.find(&names::MAX_REPLY_TOKENS) else {
        return Ok(None);
    };
    let most: u32 = number(sources, &names::MAX_REPLY_TOKENS, 1..=*CONTEXTS.end(), 1)?;
    // A reply that may fill the context leaves nothing for the question.
    match context.every.iter().chain(context.models.values()).min() {
        Some(least) if most > least / 2 => Err(SettingsError::Contradiction {
            first: found.origin,
            second: sources.origins().of(&names::CONTEXT_TOKENS),
            mend: format!(
                "a reply may have half of the smallest context at most, which is {}",
                least / 2
            ),
        }),
        _ => Ok(Some(most)),
    }
}

fn titles(sources: &Sources) -> Result<TitleSettings, SettingsError> {
    let words = [
        ("on", true),
        ("off", false),
        ("true", true),
        ("false", false),
    ];
    let model = sources.find(&names::TITLE_MODEL);
    let model = model.as_ref().map(|found: &Found| model_name(found));
    match (one_of(sources, &names::TITLES, &words)?, model.transpose()?) {
        (Some(false), _) => Ok(TitleSettings::Nobody),
        (_, Some(model)) => Ok(TitleSettings::Model(model)),
        _ => Ok(TitleSettings::TheModel),
    }
}

fn runs(sources: &Sources) -> Result<RunSettings, SettingsError> {
    let RunSettings {
        most,
        most_per_user,
    } = RunSettings::default();
    Ok(RunSettings {
        most: number(sources, &names::MAX_RUNS, 1..=10_000, most)?,
        most_per_user: number(sources, &names::MAX_RUNS_PER_USER, 1..=100, most_per_user)?,
    })
}
