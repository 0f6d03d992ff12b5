use super::ApiKeyScope;

/// What a credential allows, whoever it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Queries and subscriptions on one's own things.
    pub read: bool,
    /// Mutations on one's own things. Never without `read`.
    pub write: bool,
    /// What the schema keeps for admins.
    pub admin: bool,
    /// The user has signed in, rather than a program that bears one of their keys: only then may
    /// further credentials be made or the user be deleted.
    pub in_person: bool,
}

/// What an operation may need of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
    Admin,
}

impl Access {
    /// A user who has signed in.
    pub const fn of_user(is_admin: bool) -> Self {
        Self {
            read: true,
            write: true,
            admin: is_admin,
            in_person: true,
        }
    }

    /// A program that bears a key with these scopes.
    pub fn of_key(scopes: &[ApiKeyScope], user_is_admin: bool) -> Self {
        Self {
            read: scopes.contains(&ApiKeyScope::Read),
            write: scopes.contains(&ApiKeyScope::Write),
            admin: scopes.contains(&ApiKeyScope::Admin) && user_is_admin,
            in_person: false,
        }
    }

    pub const fn allows(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
            Right::Admin => self.admin,
        }
    }
}
