//! What the settings of an issuer are called where their user wrote them.

use crate::config::{
    IssuerSettings, Settings,
    names::{
        self,
        issuer::{self as key, IssuerKey},
    },
};

/// The name of the setting that says this of the issuer.
pub(super) fn name_of(settings: &Settings, issuer: &IssuerSettings, key: IssuerKey) -> String {
    let origins = &settings.origins;
    let wrote = |setting| origins.written(setting).is_some();
    let is_preset = match issuer.name.as_str() {
        "supabase" => wrote(&names::SUPABASE_PROJECT_URL) || wrote(&names::SUPABASE_JWT_SECRET),
        "better-auth" => wrote(&names::BETTER_AUTH_URL),
        _ => false,
    };
    let in_preset = match issuer.name.as_str() {
        _ if !is_preset => None,
        "supabase" if key == key::SECRET => Some(&names::SUPABASE_JWT_SECRET),
        "supabase" if comes_from_url(key) => Some(&names::SUPABASE_PROJECT_URL),
        "better-auth" if comes_from_url(key) => Some(&names::BETTER_AUTH_URL),
        _ => None,
    };
    let is_variable = is_preset
        || issuer.name == "jwt" && (wrote(&names::JWT_SECRET_KEY) || wrote(&names::JWT_JWKS_URL));
    match in_preset.or(key.setting) {
        Some(setting) if is_variable => origins.of(setting).to_string(),
        _ => format!("`{}` of the [[issuers]] table {}", key.key, issuer.name),
    }
}

/// What a preset knows from its URL.
fn comes_from_url(key: IssuerKey) -> bool {
    [key::ISSUER, key::AUDIENCE, key::JWKS_URL].contains(&key)
}
