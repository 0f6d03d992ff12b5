use std::time::Duration;

use loquat::{
    auth::{Identity, Issued, PolicyClaims},
    db::{Database, SignIn, Viewer},
    model::Provenance,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// The throw-away PostgreSQL that the test runner starts; its superuser's URL.
const SERVER: &str = "LOQUAT_TEST_DATABASE_URL";

/// How far the clock of an issuer may differ.
pub const TOLERANCE: Duration = Duration::from_secs(60);

/// An empty database that no other test knows. The whole server goes when the run ends.
pub struct TestDatabase {
    pub url: SecretString,
    name: String,
    /// Off: every statement is sent as text each time that it runs.
    named_statements: bool,
}

impl TestDatabase {
    pub async fn create() -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut server = connect(&server_url()).await;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut server)
            .await
            .expect("a database is made");
        Self {
            url: url_of(&server_url(), &name),
            name,
            named_statements: true,
        }
    }

    /// The same database by another way, on which each statement is seen each time that it runs.
    pub fn through(&self, url: SecretString) -> Self {
        Self {
            url,
            name: self.name.clone(),
            named_statements: false,
        }
    }

    /// The same database for another role.
    pub fn url_as(&self, role: &str, password: &str) -> SecretString {
        let mut url = url::Url::parse(self.url.expose_secret()).expect("a URL");
        // The socket's folder stands in the query, so there may be no host to put a user before.
        let host = url.host_str().unwrap_or("").to_owned();
        if host.is_empty() {
            let query = url.query().unwrap_or_default().to_owned();
            let kept: Vec<&str> = query
                .split('&')
                .filter(|pair| !pair.starts_with("user=") && !pair.starts_with("password="))
                .collect();
            return SecretString::from(format!(
                "postgres:///{}?{}&user={role}&password={password}",
                self.name,
                kept.join("&")
            ));
        }
        url.set_username(role).expect("a role's name");
        url.set_password(Some(password)).expect("a password");
        SecretString::from(url.to_string())
    }

    /// The server's own view of it: schema brought up to date, a pool of a few connections.
    pub async fn open(&self) -> Database {
        self.open_with(5).await
    }

    pub async fn open_with(&self, connections: u32) -> Database {
        Database::connect(&self.url, connections, self.named_statements)
            .await
            .expect("the database opens")
    }

    /// The superuser's view of it, past every policy.
    pub async fn superuser(&self) -> PgConnection {
        connect(self.url.expose_secret()).await
    }
}

/// A user as an issuer would vouch for them.
pub fn identity(name: &str) -> Identity {
    Identity {
        issuer: "test".to_owned(),
        external_id: name.to_owned(),
        email: Some(format!("{name}@example.com")),
        display_name: None,
        claims: PolicyClaims {
            sub: name.to_owned(),
            role: Some("authenticated".to_owned()),
            iss: Some("https://issuer.example.com".to_owned()),
        },
        is_admin: false,
        issued: Issued::Now,
        expires_at: None,
    }
}

/// Signs a user in, past HTTP.
pub async fn sign_in(database: &Database, name: &str) -> Viewer {
    sign_in_as(database, &identity(name)).await
}

/// Signs in whom an identity stands for, who must be welcome.
pub async fn sign_in_as(database: &Database, identity: &Identity) -> Viewer {
    match database.sign_in(identity, TOLERANCE, &by_token()).await {
        Ok(SignIn::Viewer { viewer, .. }) => viewer,
        refused => panic!("{refused:?}"),
    }
}

/// As if a token had been believed.
pub fn by_token() -> Provenance {
    Provenance {
        credential: "token:test".into(),
        address: None,
    }
}

fn server_url() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} is not set: run the tests with `cargo nextest run`, which starts a PostgreSQL for them")
    })
}

fn url_of(server: &str, database: &str) -> SecretString {
    let mut url = url::Url::parse(server).expect("a URL");
    url.set_path(&format!("/{database}"));
    SecretString::from(url.to_string())
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the test server answers")
}
