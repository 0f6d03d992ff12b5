//! Strings that nobody has thought of, and what no string may bring to light.

use jsonwebtoken::Algorithm;
use loquat::{
    auth::{Authenticator, Credential},
    lifecycle::Lifecycle,
};
use proptest::prelude::{ProptestConfig, any, prop_oneof, proptest};
use secrecy::SecretString;
use serde_json::json;

use super::super::issuer::{SECRET, TestKey, hs256, offer, secret_settings};

#[tokio::test]
async fn a_shared_secret_signs_with_the_hashes_that_are_configured() {
    let mut settings = secret_settings();
    let all = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    for accepted in all {
        settings.issuers[0].algorithms = vec![accepted];
        let authenticator =
            Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");
        for offered in all {
            let token = TestKey::secret(SECRET.as_bytes(), offered).token(json!({}), json!({}));
            let outcome = offer(&authenticator, token).await;
            assert_eq!(outcome.is_ok(), offered == accepted, "{offered:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_string_panics_or_passes(
        token in prop_oneof![
            any::<String>(),
            "[A-Za-z0-9_.=-]{0,200}",
            "eyJhbGciOiJIUzI1NiJ9\\.[A-Za-z0-9_-]{0,100}\\.[A-Za-z0-9_-]{43}",
        ],
        name in any::<String>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let authenticator = Authenticator::new(&secret_settings(), &Lifecycle::new())
                .expect("a usable configuration");
            assert!(offer(&authenticator, token).await.is_err());
            assert!(authenticator.authenticate(&Credential::DevelopmentUser(name)).await.is_err());
        });
    }

    #[test]
    fn no_signed_payload_panics(payload in any::<String>(), sub in any::<String>(), exp in any::<f64>(), nbf in any::<i64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let authenticator = Authenticator::new(&secret_settings(), &Lifecycle::new())
                .expect("a usable configuration");
            let raw = hs256().sign(r#"{"alg":"HS256"}"#, &payload);
            assert!(offer(&authenticator, raw).await.is_err());
            let odd = json!({ "sub": &sub, "exp": exp, "nbf": nbf, "name": &sub, "email": &sub, "role": &sub });
            if let Ok(identity) = offer(&authenticator, hs256().token(json!({}), odd)).await {
                assert_eq!(identity.external_id, sub);
            }
        });
    }
}

#[test]
fn a_secret_never_shows_in_the_debug_text_of_what_holds_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let authenticator =
        Authenticator::new(&secret_settings(), &Lifecycle::new()).expect("a usable configuration");
    let credential = Credential::Bearer(SecretString::from("the-token"));
    let text = format!("{authenticator:?} {credential:?}");
    assert!(
        !text.contains(SECRET) && !text.contains("the-token"),
        "{text}"
    );
}
