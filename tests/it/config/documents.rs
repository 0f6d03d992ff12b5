//! Which documents run, and the manifests of those that are trusted.

use std::path::PathBuf;

use loquat::config::AdmittedDocuments;

use super::{all_wrong, settings};

#[test]
fn any_document_runs_unless_told_and_manifests_are_a_list() {
    let quiet = settings(&[]).documents;
    assert!(quiet.trusted.is_empty());
    assert_eq!(quiet.admitted, AdmittedDocuments::Automatic);

    const MANIFESTS: (&str, &str) = ("LOQUAT_TRUSTED_DOCUMENTS", "a.json, b/c.json");
    const NOT_AUTOMATIC: (&str, &str) = ("LOQUAT_AUTOMATIC_PERSISTED_QUERIES", "false");
    const ONLY: (&str, &str) = ("LOQUAT_TRUSTED_DOCUMENTS_ONLY", "true");
    for (written, admitted) in [
        (&[MANIFESTS][..], AdmittedDocuments::Automatic),
        (&[MANIFESTS, NOT_AUTOMATIC], AdmittedDocuments::Written),
        (&[MANIFESTS, ONLY], AdmittedDocuments::Trusted),
        (
            &[MANIFESTS, ONLY, NOT_AUTOMATIC],
            AdmittedDocuments::Trusted,
        ),
    ] {
        let documents = settings(written).documents;
        assert_eq!(documents.trusted, ["a.json", "b/c.json"].map(PathBuf::from));
        assert_eq!(documents.admitted, admitted);
    }
}

#[test]
fn each_wrong_choice_of_documents_is_one_line_with_its_mend() {
    all_wrong(&[
        (
            &[("LOQUAT_TRUSTED_DOCUMENTS_ONLY", "true")],
            "LOQUAT_TRUSTED_DOCUMENTS_ONLY is true and needs the documents: set LOQUAT_TRUSTED_DOCUMENTS to their manifest",
        ),
        (
            &[
                ("LOQUAT_TRUSTED_DOCUMENTS", "a.json"),
                ("LOQUAT_TRUSTED_DOCUMENTS_ONLY", "true"),
                ("LOQUAT_AUTOMATIC_PERSISTED_QUERIES", "true"),
            ],
            "LOQUAT_TRUSTED_DOCUMENTS_ONLY and LOQUAT_AUTOMATIC_PERSISTED_QUERIES contradict each other: nobody can register a document where only trusted ones run; leave one of them out",
        ),
        (
            &[("LOQUAT_TRUSTED_DOCUMENTS", " , ")],
            "LOQUAT_TRUSTED_DOCUMENTS: names no file",
        ),
    ]);
}
