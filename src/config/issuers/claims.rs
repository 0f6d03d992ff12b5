//! Which claims an issuer's tokens are read by, none of which may be one that users write
//! themselves.

use super::{
    super::{ClaimRule, ClaimValue, SettingsError, names::issuer as key, sources::Origin},
    written::Written,
};

/// What Supabase, Auth0 and Clerk let every user write about themselves.
const USERS_OWN: [&str; 3] = ["user_metadata", "unsafe_metadata", "unsafeMetadata"];

/// The claim that names the user.
pub(super) fn user(written: &Written) -> Result<Option<String>, SettingsError> {
    let claim = written.text(key::USER_CLAIM);
    if let Some(claim) = &claim {
        not_the_users_own(claim, written.origin_of(key::USER_CLAIM))?;
    }
    Ok(claim)
}

/// What makes an admin.
pub(super) fn admin(written: &Written) -> Result<Option<ClaimRule>, SettingsError> {
    match (written.text(key::ADMIN_CLAIM), &written.admin_value) {
        (None, None) => Ok(None),
        (None, Some((_, origin))) => Err(SettingsError::Incomplete {
            origin: origin.clone(),
            needs: format!(
                "needs the claim that has this value: set {}",
                written.name_of(key::ADMIN_CLAIM)
            ),
        }),
        (Some(claim), value) => {
            not_the_users_own(&claim, written.origin_of(key::ADMIN_CLAIM))?;
            let value = match value {
                Some((value, _)) => value.clone(),
                None => ClaimValue::True,
            };
            Ok(Some(ClaimRule { claim, value }))
        }
    }
}

/// What every token must say.
pub(super) fn required(written: &Written) -> Result<Vec<ClaimRule>, SettingsError> {
    let Some((rules, origin)) = &written.required_claims else {
        return Ok(Vec::new());
    };
    for rule in rules {
        not_the_users_own(&rule.claim, origin.clone())?;
    }
    Ok(rules.clone())
}

fn not_the_users_own(claim: &str, origin: Origin) -> Result<(), SettingsError> {
    let own = claim
        .split(['.', '/'])
        .find(|part| USERS_OWN.contains(part));
    match own {
        Some(own) => Err(SettingsError::Invalid {
            origin,
            problem: format!(
                "`{own}` is what users write about themselves, and proves nothing; use a claim \
                 that the issuer alone writes, such as app_metadata.role"
            ),
        }),
        None => Ok(()),
    }
}
