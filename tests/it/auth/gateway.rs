//! A gateway that names its users, and whoever would like to be one.

use jsonwebtoken::Algorithm;
use loquat::{
    auth::{AuthError, AuthSetupError, Authenticator, Credential, Issued},
    config::{Environment, Settings},
    lifecycle::Lifecycle,
};
use secrecy::SecretString;
use serde_json::json;

use super::issuer::{TestKey, now, offer, settings};

const ONE: &str = "the-first-secret-of-more-than-thirty-two-bytes";
const TWO: &str = "the-second-secret-of-more-than-thirty-two-bytes";

fn authenticator(settings: &Settings) -> Authenticator {
    Authenticator::new(settings, &Lifecycle::new()).expect("a usable configuration")
}

fn production() -> Settings {
    settings(&[
        ("ENVIRONMENT", "production"),
        ("LOQUAT_GATEWAY_SECRET", ONE),
    ])
}

#[tokio::test]
async fn a_gateway_names_its_users_by_its_secret_alone() {
    let gateway = authenticator(&production());
    let ask = async |authenticator: &Authenticator, secret: &str, user: &str| {
        let credential = Credential::Gateway {
            secret: SecretString::from(secret),
            user: user.to_owned(),
        };
        authenticator.authenticate(&credential).await
    };
    let identity = ask(&gateway, ONE, "ada").await.expect("accepted");
    assert_eq!(
        (identity.issuer.as_str(), identity.external_id.as_str()),
        ("gateway", "ada")
    );
    assert!(!identity.is_admin);
    assert_eq!((identity.issued, identity.expires_at), (Issued::Now, None));

    for secret in [TWO, "", &ONE[1..], &ONE[..10], &format!("{ONE}x"), "ONE"] {
        let outcome = ask(&gateway, secret, "ada").await;
        assert!(matches!(outcome, Err(AuthError::Refused(_))), "{secret}");
    }
    for user in ["", " ", "a\0b", &"x".repeat(256)] {
        assert!(ask(&gateway, ONE, user).await.is_err(), "{user:?}");
    }
    // Where there is none, not even the secret of the issuer is one.
    let none = authenticator(&settings(&[("JWT_SECRET_KEY", ONE)]));
    assert!(ask(&none, ONE, "ada").await.is_err());

    let name = Credential::DevelopmentUser("ada".to_owned());
    assert!(gateway.authenticate(&name).await.is_err());
    let claims = json!({ "sub": "ada", "exp": now() + 600 });
    let token = TestKey::secret(ONE.as_bytes(), Algorithm::HS256)
        .sign(r#"{"alg":"HS256"}"#, &claims.to_string());
    assert!(offer(&gateway, token).await.is_err());
    let key = Credential::ApiKey(SecretString::from("loq_a"));
    assert!(gateway.authenticate(&key).await.is_err());
}

#[tokio::test]
async fn a_gateway_that_anybody_could_be_does_not_start() {
    let start =
        |settings: &Settings| Authenticator::new(settings, &Lifecycle::new()).expect_err("refused");
    let mut settings = production();
    settings.environment = Environment::Development;
    assert!(matches!(
        start(&settings),
        AuthSetupError::DevelopmentGateway
    ));
    let mut settings = production();
    settings.gateway_secret = Some(SecretString::from(&ONE[..31]));
    assert!(matches!(
        start(&settings),
        AuthSetupError::ShortGatewaySecret
    ));
    let mut settings = production();
    settings.gateway_secret = None;
    assert!(matches!(start(&settings), AuthSetupError::NoIssuer));
}
