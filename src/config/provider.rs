//! The model's server, or the demo assistant when none is named.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{
    OfferedModels, OpenAiSettings, ProviderSettings, SettingsError, names,
    sources::{Found, Sources},
    values::{invalid, list, model_name, number, seconds, web_url, without_slash},
};

/// Where a key without a base URL belongs.
const OPENAI: &str = "https://api.openai.com/v1";
const OPENAI_DEFAULT_MODEL: &str = "gpt-4.1-mini";
/// The name of the demo assistant's one model.
const DEMO_MODEL: &str = "demo";

pub(super) fn resolve(sources: &Sources) -> Result<ProviderSettings, SettingsError> {
    let key = sources.find(&names::OPENAI_API_KEY);
    let base = sources.find(&names::OPENAI_BASE_URL);
    let model = sources.find(&names::OPENAI_CHAT_MODEL);
    // Checked even where the demo assistant needs none of them: a wrong setting is never silent.
    let connect_timeout = limit(sources, &names::PROVIDER_CONNECT_SECONDS, 10)?;
    let first_token_timeout = limit(sources, &names::PROVIDER_FIRST_TOKEN_SECONDS, 120)?;
    let idle_timeout = limit(sources, &names::PROVIDER_IDLE_SECONDS, 60)?;
    let retries = number(sources, &names::PROVIDER_RETRIES, 0..=10, 2)?;

    let (openai, default_model) = if key.is_none() && base.is_none() {
        if let Some(model) = model {
            return Err(SettingsError::Incomplete {
                origin: model.origin,
                needs: "needs the server that has this model: set OPENAI_API_KEY or \
                        OPENAI_BASE_URL"
                    .to_owned(),
            });
        }
        (None, DEMO_MODEL.to_owned())
    } else {
        let base_url = base.as_ref().map(web_url).transpose()?;
        let default_model = match (model, &base, &base_url) {
            (Some(model), _, _) => model_name(&model)?,
            (None, Some(base), Some(url)) if without_slash(url) != OPENAI => {
                return Err(SettingsError::Incomplete {
                    origin: base.origin.clone(),
                    needs: "needs OPENAI_CHAT_MODEL: the name of a model that this server has"
                        .to_owned(),
                });
            }
            _ => OPENAI_DEFAULT_MODEL.to_owned(),
        };
        let openai = OpenAiSettings {
            api_key: key.as_ref().map(api_key).transpose()?,
            base_url: base_url
                .unwrap_or_else(|| Url::parse(OPENAI).expect("a constant that is a URL")),
            connect_timeout,
            first_token_timeout,
            idle_timeout,
            retries,
        };
        (Some(openai), default_model)
    };

    Ok(ProviderSettings {
        models: models(sources, &default_model)?,
        openai,
        default_model,
    })
}

fn limit(
    sources: &Sources,
    setting: &'static names::Setting,
    default: u32,
) -> Result<Duration, SettingsError> {
    seconds(sources, setting, 1..=3600, default)
}

/// A key goes into a header, so it must be able to.
fn api_key(found: &Found) -> Result<SecretString, SettingsError> {
    let key = found.value.trim();
    if key.chars().all(|c| c.is_ascii_graphic()) {
        Ok(SecretString::from(key))
    } else {
        Err(invalid(
            found,
            "holds characters that no key has; copy it again, without spaces".to_owned(),
        ))
    }
}

fn models(sources: &Sources, default_model: &str) -> Result<OfferedModels, SettingsError> {
    let Some(found) = sources.find(&names::MODELS) else {
        return Ok(OfferedModels::Listed(vec![default_model.to_owned()]));
    };
    let mut names: Vec<String> = Vec::new();
    for name in list(&found.value) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names == ["*"] {
        return Ok(OfferedModels::Any);
    }
    if names.iter().any(|name| name == "*") {
        return Err(invalid(
            &found,
            "holds names and `*`; write either".to_owned(),
        ));
    }
    if !names.iter().any(|name| name == default_model) {
        return Err(invalid(
            &found,
            format!("does not hold the default model `{default_model}`; add it"),
        ));
    }
    Ok(OfferedModels::Listed(names))
}
