//! Every way in which an issuer, its table or several of them beside each other can be wrong.

use loquat::config::{IssuerSettings, Settings, Sources};

use super::{GATEWAY_SECRET, SECRET, all_wrong, line};

fn issuers(file: &str) -> Vec<IssuerSettings> {
    let sources = Sources::default().file("loquat.toml", file).expect("read");
    Settings::resolve(&sources).expect("right").issuers
}

#[test]
fn each_wrong_issuer_is_one_line_that_names_the_setting_and_the_mend() {
    all_wrong(&[
        (
            &[
                ("SUPABASE_PROJECT_URL", "https://abc.supabase.co"),
                ("BETTER_AUTH_URL", "https://app.example.com"),
                ("JWT_AUDIENCE", "mobile"),
            ],
            "JWT_AUDIENCE: does not say which of SUPABASE_PROJECT_URL and BETTER_AUTH_URL it is about; write each issuer as an [[issuers]] table of loquat.toml",
        ),
        (
            &[
                ("SUPABASE_JWT_SECRET", SECRET),
                ("BETTER_AUTH_URL", "https://app.example.com"),
                ("JWT_ADMIN_CLAIM", "admin"),
            ],
            "JWT_ADMIN_CLAIM: does not say which of SUPABASE_JWT_SECRET and BETTER_AUTH_URL it is about; write each issuer as an [[issuers]] table of loquat.toml",
        ),
        (
            &[
                (
                    "SUPABASE_JWT_SECRET",
                    "one-secret-of-more-than-32-bytes-hunter2",
                ),
                ("JWT_SECRET_KEY", "two-secret-of-more-than-32-bytes-hunter2"),
            ],
            "SUPABASE_JWT_SECRET and JWT_SECRET_KEY contradict each other: they are different secrets; keep the one that signs the tokens",
        ),
        (
            &[
                ("BETTER_AUTH_URL", "https://app.example.com"),
                ("JWT_AUDIENCE", "mobile"),
            ],
            "BETTER_AUTH_URL and JWT_AUDIENCE contradict each other: remove one of them; the first names an issuer and sets this itself",
        ),
        (
            &[
                ("SUPABASE_PROJECT_URL", "https://abc.supabase.co"),
                ("JWT_SECRET_KEY", SECRET),
            ],
            "SUPABASE_PROJECT_URL and JWT_SECRET_KEY contradict each other: remove one of them; the first names an issuer and sets this itself",
        ),
        (
            &[("SUPABASE_PROJECT_URL", "abc.supabase.co")],
            "SUPABASE_PROJECT_URL: is not a URL (relative URL without a base); write it as https://host or https://host/path",
        ),
        (
            &[("JWT_ISSUER", "https://issuer.example.com")],
            "JWT_ISSUER needs a key to check tokens with: set JWT_SECRET_KEY or JWT_JWKS_URL",
        ),
        (
            &[("JWT_AUDIENCE", "chat")],
            "JWT_AUDIENCE needs a key to check tokens with: set JWT_SECRET_KEY or JWT_JWKS_URL",
        ),
        (
            &[("JWT_SECRET_KEY", SECRET), ("JWT_ALGORITHM", "none")],
            "JWT_ALGORITHM: `none` is not one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ),
        (
            &[("JWT_SECRET_KEY", SECRET), ("JWT_ALGORITHM", "RS256")],
            "JWT_ALGORITHM: RS256 is checked with a key set that has such keys; set JWT_JWKS_URL, or choose HS256",
        ),
        (
            &[
                ("JWT_JWKS_URL", "https://issuer.example.com/jwks"),
                ("JWT_ALGORITHM", "HS256"),
            ],
            "JWT_ALGORITHM: HS256 is checked with a secret; set JWT_SECRET_KEY, or choose an algorithm of the key set",
        ),
        (
            &[(
                "JWT_SECRET_KEY",
                "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----",
            )],
            "JWT_SECRET_KEY: is a PEM key, not a shared secret; publish the public key as a key set and name it in JWT_JWKS_URL",
        ),
        (
            &[("ENVIRONMENT", "production"), ("JWT_SECRET_KEY", "hunter2")],
            "JWT_SECRET_KEY: has 7 bytes, which can be guessed; production needs 32 or more, in the issuer and here",
        ),
        (
            &[(
                "JWT_JWKS_URL",
                "https://user:hunter2@issuer.example.com/jwks",
            )],
            "JWT_JWKS_URL: must not hold a user name or a password; write it as https://host or https://host/path",
        ),
        (
            &[
                ("ENVIRONMENT", "production"),
                ("BETTER_AUTH_URL", "http://app.example.com"),
            ],
            "BETTER_AUTH_URL: must be https in production, because the keys of the issuer come from there",
        ),
        (
            &[
                ("ENVIRONMENT", "production"),
                ("JWT_SECRET_KEY", SECRET),
                ("JWT_PREVIOUS_SECRET_KEY", "hunter2"),
            ],
            "JWT_PREVIOUS_SECRET_KEY: has 7 bytes, which can be guessed; production needs 32 or more, in the issuer and here",
        ),
        (
            &[
                ("JWT_JWKS_URL", "https://issuer.example.com/jwks"),
                ("JWT_PREVIOUS_SECRET_KEY", SECRET),
            ],
            "JWT_PREVIOUS_SECRET_KEY needs the secret that replaces it: set JWT_SECRET_KEY",
        ),
        (
            &[("SUPABASE_PREVIOUS_JWT_SECRET", SECRET)],
            "SUPABASE_PREVIOUS_JWT_SECRET needs the secret that replaces it: set SUPABASE_JWT_SECRET",
        ),
        (
            &[
                ("BETTER_AUTH_URL", "https://app.example.com"),
                ("JWT_PREVIOUS_SECRET_KEY", SECRET),
            ],
            "BETTER_AUTH_URL and JWT_PREVIOUS_SECRET_KEY contradict each other: remove one of them; the first names an issuer and sets this itself",
        ),
        (
            &[("JWT_SECRET_KEY", SECRET), ("JWT_ADMIN_VALUE", "admin")],
            "JWT_ADMIN_VALUE needs the claim that has this value: set JWT_ADMIN_CLAIM",
        ),
        (
            &[("JWT_ADMIN_CLAIM", "admin")],
            "JWT_ADMIN_CLAIM needs a key to check tokens with: set JWT_SECRET_KEY or JWT_JWKS_URL",
        ),
        (
            &[
                ("SUPABASE_JWT_SECRET", SECRET),
                ("JWT_ADMIN_CLAIM", "user_metadata.role"),
            ],
            "JWT_ADMIN_CLAIM: `user_metadata` is what users write about themselves, and proves nothing; use a claim that the issuer alone writes, such as app_metadata.role",
        ),
        (
            &[
                ("JWT_SECRET_KEY", SECRET),
                ("JWT_USER_CLAIM", "user_metadata.name"),
            ],
            "JWT_USER_CLAIM: `user_metadata` is what users write about themselves, and proves nothing; use a claim that the issuer alone writes, such as app_metadata.role",
        ),
        (
            &[
                ("JWT_SECRET_KEY", SECRET),
                ("JWT_REQUIRED_CLAIMS", "org=acme,user_metadata.plan=pro"),
            ],
            "JWT_REQUIRED_CLAIMS: `user_metadata` is what users write about themselves, and proves nothing; use a claim that the issuer alone writes, such as app_metadata.role",
        ),
        (
            &[
                ("JWT_SECRET_KEY", SECRET),
                ("JWT_REQUIRED_CLAIMS", "org=acme, verified"),
            ],
            "JWT_REQUIRED_CLAIMS: `verified` is not claim=value, such as email_verified=true",
        ),
        (
            &[
                ("JWT_SECRET_KEY", SECRET),
                ("JWT_REQUIRED_CLAIMS", "org=acme,org=other"),
            ],
            "JWT_REQUIRED_CLAIMS: names `org` twice; keep one",
        ),
        (
            &[("LOQUAT_GATEWAY_SECRET", GATEWAY_SECRET)],
            "LOQUAT_GATEWAY_SECRET: is for production alone, where nobody else may name a user; remove it, or set ENVIRONMENT=production",
        ),
        (
            &[
                ("ENVIRONMENT", "production"),
                ("LOQUAT_GATEWAY_SECRET", "hunter2"),
            ],
            "LOQUAT_GATEWAY_SECRET: has 7 bytes, which can be guessed; make it 32 or more",
        ),
        (
            &[
                ("ENVIRONMENT", "production"),
                (
                    "LOQUAT_GATEWAY_SECRET",
                    "a secret of more than thirty-two bytes, hunter2",
                ),
            ],
            "LOQUAT_GATEWAY_SECRET: must be sent in a header; write it in letters, digits and signs of ASCII, without spaces",
        ),
    ]);
}

#[test]
fn each_wrong_table_is_one_line_that_names_the_table_the_key_and_the_mend() {
    const KEY: &str = "secret = 'one-secret-of-more-than-32-bytes-hunter2'";
    let cases: &[(&[&str], &str)] = &[
        (
            &[KEY],
            "[[issuers]] 1 of loquat.toml needs a name for its users to be known by: set name",
        ),
        (
            &["name = ' '", KEY],
            "[[issuers]] 1 ( ) of loquat.toml needs a name for its users to be known by: set name",
        ),
        (
            &["name = 'a'"],
            "[[issuers]] 1 (a) of loquat.toml needs a key to check tokens with: set secret or jwks_url",
        ),
        (
            &["name = 'gateway'", KEY],
            "name in [[issuers]] 1 (gateway) of loquat.toml: `gateway` is what the server calls an issuer of its own; choose another",
        ),
        (
            &["name = 'development'", KEY],
            "name in [[issuers]] 1 (development) of loquat.toml: `development` is what the server calls an issuer of its own; choose another",
        ),
        (
            &[r#"name = "a\nb""#, KEY],
            r"name in [[issuers]] 1 (a\nb) of loquat.toml: must have 1 to 255 characters, all on one line",
        ),
        (
            &["name = 7", KEY],
            "name in [[issuers]] 1 of loquat.toml: must be a string",
        ),
        (
            &["name = 'a'", "preset = 'auth0'"],
            "preset in [[issuers]] 1 (a) of loquat.toml: `auth0` is not one of supabase, better-auth",
        ),
        (
            &["name = 'a'", "preset = 'supabase'"],
            "preset in [[issuers]] 1 (a) of loquat.toml needs the project: set url, or the project's legacy secret",
        ),
        (
            &["name = 'a'", "preset = 'better-auth'"],
            "preset in [[issuers]] 1 (a) of loquat.toml needs the base URL of the Better Auth server: set url",
        ),
        (
            &[
                "name = 'a'",
                "preset = 'better-auth'",
                "url = 'https://app.example.com'",
                KEY,
            ],
            "preset in [[issuers]] 1 (a) of loquat.toml and secret in [[issuers]] 1 (a) of loquat.toml contradict each other: remove one of them; the first names an issuer and sets this itself",
        ),
        (
            &[
                "name = 'a'",
                "preset = 'better-auth'",
                "url = 'https://app.example.com'",
                "issuer = 'x'",
            ],
            "preset in [[issuers]] 1 (a) of loquat.toml and issuer in [[issuers]] 1 (a) of loquat.toml contradict each other: remove one of them; the first names an issuer and sets this itself",
        ),
        (
            &["name = 'a'", "url = 'https://app.example.com'"],
            "url in [[issuers]] 1 (a) of loquat.toml needs the preset that it belongs to: set preset to supabase or better-auth, or name the key set by jwks_url",
        ),
        (
            &["name = 'a'", KEY, "aud = 'chat'"],
            "[[issuers]] 1 (a) of loquat.toml: unknown key `aud`; loquat.example.toml lists the keys",
        ),
        (
            &["name = 'a'", KEY, "jwt_audience = 'chat'"],
            "[[issuers]] 1 (a) of loquat.toml: unknown key `jwt_audience`; the key is `audience`",
        ),
        (
            &["name = 'a'", KEY, "user-claim = 'id'"],
            "[[issuers]] 1 (a) of loquat.toml: unknown key `user-claim`; the key is `user_claim`",
        ),
        (
            &["name = 'a'", KEY, "audience = ['a', 'b']"],
            "audience in [[issuers]] 1 (a) of loquat.toml: must be a string",
        ),
        (
            &["name = 'a'", KEY, "algorithms = ['HS256', 1]"],
            "algorithms in [[issuers]] 1 (a) of loquat.toml: must be a list of strings",
        ),
        (
            &["name = 'a'", KEY, "algorithms = ['ES512']"],
            "algorithms in [[issuers]] 1 (a) of loquat.toml: `ES512` is not one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ),
        (
            &["name = 'a'", KEY, "algorithms = ['RS256']"],
            "algorithms in [[issuers]] 1 (a) of loquat.toml: RS256 is checked with a key set that has such keys; set jwks_url, or choose HS256",
        ),
        (
            &["name = 'a'", KEY, "required_claims = ['org']"],
            "required_claims in [[issuers]] 1 (a) of loquat.toml: must be a table of claims, each a string, a number, true or false, such as { email_verified = true }",
        ),
        (
            &["name = 'a'", KEY, "required_claims = { org = { id = 1 } }"],
            "required_claims in [[issuers]] 1 (a) of loquat.toml: must be a table of claims, each a string, a number, true or false, such as { email_verified = true }",
        ),
        (
            &[
                "name = 'a'",
                KEY,
                "admin_claim = 'role'",
                "admin_value = ['admin']",
            ],
            "admin_value in [[issuers]] 1 (a) of loquat.toml: must be a string, a number, true or false",
        ),
        (
            &["name = 'a'", KEY, "admin_value = 'admin'"],
            "admin_value in [[issuers]] 1 (a) of loquat.toml needs the claim that has this value: set admin_claim",
        ),
        (
            &[
                "name = 'a'",
                KEY,
                "admin_claim = 'https://app.example.com/user_metadata'",
            ],
            "admin_claim in [[issuers]] 1 (a) of loquat.toml: `user_metadata` is what users write about themselves, and proves nothing; use a claim that the issuer alone writes, such as app_metadata.role",
        ),
        (
            &["name = 'a'", KEY, "secret_variable = 'A_SECRET'"],
            "secret in [[issuers]] 1 (a) of loquat.toml and secret_variable in [[issuers]] 1 (a) of loquat.toml contradict each other: both hold the same secret; keep one of them",
        ),
        (
            &["name = 'a'", "secret_variable = 'hunter2'"],
            "secret_variable in [[issuers]] 1 (a) of loquat.toml names a variable that is not set, neither in the environment nor in .env.local or .env: set it",
        ),
        (
            &[
                "name = 'a'",
                "jwks_url = 'https://issuer.example.com'",
                "previous_secret = 'hunter2'",
            ],
            "previous_secret in [[issuers]] 1 (a) of loquat.toml needs the secret that replaces it: set secret",
        ),
    ];
    for (table, expected) in cases {
        let text = format!("[[issuers]]\n{}", table.join("\n"));
        let line = line(Sources::default().file("loquat.toml", &text));
        assert_eq!(&line, expected, "{text}");
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
    }

    for text in [
        "issuers = 'auth0'",
        "[issuers]\nname = 'a'",
        "issuers = ['a']",
    ] {
        assert_eq!(
            line(Sources::default().file("loquat.toml", text)),
            "issuers in loquat.toml: must be tables; begin each with a line [[issuers]]"
        );
    }
}

#[test]
fn issuers_that_could_be_mistaken_for_each_other_stop_the_start() {
    let file = |text: &str| line(Sources::default().file("loquat.toml", text));
    const ONE: &str = "[[issuers]]\nname = 'one'\nsecret = 'hunter2-1'\n";

    assert_eq!(
        file(&format!("{ONE}{}", ONE.replace("hunter2-1", "hunter2-2"))),
        "name in [[issuers]] 1 (one) of loquat.toml and name in [[issuers]] 2 (one) of loquat.toml contradict each other: both issuers have this name; give each a name of its own"
    );
    assert_eq!(
        file(&format!(
            "jwt_secret_key = 'hunter2-2'\n{}",
            ONE.replace("one", "jwt")
        )),
        "jwt_secret_key in loquat.toml and name in [[issuers]] 1 (jwt) of loquat.toml contradict each other: both issuers have this name; give each a name of its own"
    );
    let shared = "and neither says what its tokens' iss is, so that nobody could tell their users apart; name the iss of one";
    assert_eq!(
        file(&format!(
            "{ONE}previous_secret = 'hunter2-2'\n[[issuers]]\nname = 'two'\nsecret = 'hunter2-2'\naudience = 'b'"
        )),
        format!(
            "secret in [[issuers]] 1 (one) of loquat.toml and secret in [[issuers]] 2 (two) of loquat.toml contradict each other: both issuers sign with the same secret {shared}"
        )
    );
    let set = "jwks_url = 'https://issuer.example.com/jwks'";
    assert_eq!(
        file(&format!("{ONE}{set}\n[[issuers]]\nname = 'two'\n{set}")),
        format!(
            "jwks_url in [[issuers]] 1 (one) of loquat.toml and jwks_url in [[issuers]] 2 (two) of loquat.toml contradict each other: both issuers have the same key set {shared}"
        )
    );
    assert_eq!(
        file(&format!(
            "{ONE}issuer = 'x'\n[[issuers]]\nname = 'two'\n{set}\nissuer = 'x'"
        )),
        "issuer in [[issuers]] 1 (one) of loquat.toml and issuer in [[issuers]] 2 (two) of loquat.toml contradict each other: both name the same issuer and audience; keep one of them"
    );

    assert_eq!(
        file(&format!(
            "{ONE}issuer = 'x'\naudience = 'a'\n[[issuers]]\nname = 'two'\n{set}\nissuer = 'x'"
        )),
        "issuer in [[issuers]] 1 (one) of loquat.toml and issuer in [[issuers]] 2 (two) of loquat.toml contradict each other: both name the same issuer, and one names no audience; name the audience of each"
    );

    // One issuer may serve two audiences, and one secret two issuers that say who they are.
    assert_eq!(
        issuers(&format!(
            "{ONE}issuer = 'x'\naudience = 'a'\n[[issuers]]\nname = 'two'\nsecret = 'hunter2-1'\nissuer = 'x'\naudience = 'b'\n[[issuers]]\nname = 'three'\nsecret = 'hunter2-1'"
        ))
        .len(),
        3
    );
}

#[test]
fn production_looks_at_the_secrets_and_key_sets_of_every_table() {
    let production = |table: &str| {
        line(Sources::default().file(
            "loquat.toml",
            &format!("environment = 'production'\nbetter_auth_url = 'https://app.example.com'\n[[issuers]]\nname = 'a'\n{table}"),
        ))
    };
    assert_eq!(
        production("secret = 'hunter2'"),
        "secret in [[issuers]] 1 (a) of loquat.toml: has 7 bytes, which can be guessed; production needs 32 or more, in the issuer and here"
    );
    assert_eq!(
        production("jwks_url = 'http://issuer.example.com/jwks'"),
        "jwks_url in [[issuers]] 1 (a) of loquat.toml: must be https in production, because the keys of the issuer come from there"
    );
    assert_eq!(
        production("preset = 'supabase'\nurl = 'http://abc.supabase.co'"),
        "url in [[issuers]] 1 (a) of loquat.toml: must be https in production, because the keys of the issuer come from there"
    );
}
