//! Which GraphQL documents may run, and how they may be named.

use std::path::PathBuf;

use super::{
    AdmittedDocuments, DocumentSettings, SettingsError, names,
    sources::Sources,
    values::{boolean, invalid, list},
};

pub(super) fn resolve(sources: &Sources) -> Result<DocumentSettings, SettingsError> {
    let trusted = trusted(sources)?;
    let automatic = boolean(sources, &names::AUTOMATIC_PERSISTED_QUERIES)?;
    let admitted = match boolean(sources, &names::TRUSTED_DOCUMENTS_ONLY)? {
        Some(true) if trusted.is_empty() => {
            return Err(SettingsError::Incomplete {
                origin: sources.origins().of(&names::TRUSTED_DOCUMENTS_ONLY),
                needs: "is true and needs the documents: set LOQUAT_TRUSTED_DOCUMENTS to their \
                        manifest"
                    .to_owned(),
            });
        }
        Some(true) if automatic == Some(true) => {
            return Err(SettingsError::Contradiction {
                first: sources.origins().of(&names::TRUSTED_DOCUMENTS_ONLY),
                second: sources.origins().of(&names::AUTOMATIC_PERSISTED_QUERIES),
                mend: "nobody can register a document where only trusted ones run; leave one of \
                       them out"
                    .to_owned(),
            });
        }
        Some(true) => AdmittedDocuments::Trusted,
        _ if automatic == Some(false) => AdmittedDocuments::Written,
        _ => AdmittedDocuments::Automatic,
    };
    Ok(DocumentSettings { trusted, admitted })
}

fn trusted(sources: &Sources) -> Result<Vec<PathBuf>, SettingsError> {
    let Some(found) = sources.find(&names::TRUSTED_DOCUMENTS) else {
        return Ok(Vec::new());
    };
    let paths: Vec<_> = list(&found.value).map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(invalid(&found, "names no file".to_owned()));
    }
    Ok(paths)
}
