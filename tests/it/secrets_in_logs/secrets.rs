//! What is planted, and how it is looked for.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

/// What was planted, by what it is.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Something long enough never to come about by chance.
    pub fn plant(&mut self, what: &str) -> String {
        let mark = format!("mark-{}", Uuid::new_v4().simple());
        self.keep(what, &mark);
        mark
    }

    pub fn keep(&mut self, what: &str, secret: &str) {
        self.0.insert(what.to_owned(), secret.to_owned());
    }

    /// A token; its payload and its signature by themselves are as secret.
    pub fn token(&mut self, what: &str, key: &str, more: &Value) -> String {
        let user = self.plant(&format!("the user of {what}"));
        let mut claims = json!({
            "sub": user, "exp": 4_000_000_000_u32,
            "email": format!("{}@example.com", self.plant(&format!("the e-mail address in {what}"))),
            "name": self.plant(&format!("the name in {what}")),
            "other": self.plant(&format!("a claim in {what}")),
        });
        let own = claims.as_object_mut().expect("an object");
        own.extend(more.as_object().expect("an object").clone());
        let key = EncodingKey::from_secret(key.as_bytes());
        let token = encode(&Header::default(), &claims, &key).expect("a token");
        self.keep_parts(what, &token);
        token
    }

    fn keep_parts(&mut self, what: &str, token: &str) {
        for (part, text) in ["payload", "signature"]
            .iter()
            .zip(token.split('.').skip(1))
        {
            self.keep(&format!("the {part} of {what}"), text);
        }
    }

    /// Fails where any of it stands in the text, in any case of letters, or in disguise.
    pub fn assert_none_in(&self, place: &str, said: &str) {
        let lower = said.to_lowercase();
        for (what, secret) in &self.0 {
            let disguises = [
                hex::encode(secret),
                // Without the end, which depends on what follows.
                BASE64_STANDARD_NO_PAD.encode(&secret[..secret.len() / 3 * 3]),
            ];
            let found = lower.contains(&secret.to_lowercase())
                || disguises.iter().any(|disguise| said.contains(disguise));
            let line = said
                .lines()
                .find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
            assert!(!found, "{what} stands in {place}: {line:?}");
        }
    }
}
