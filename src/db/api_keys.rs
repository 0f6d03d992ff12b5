use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{Database, DbError, SystemReason, SystemTx, Viewer, ViewerTx, error::during};
use crate::{
    auth::PolicyClaims,
    model::{Access, ApiKey, ApiKeyId, ApiKeyScope, Page, PageRequest, Slice, UserId},
};

#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub id: ApiKeyId,
    pub name: String,
    pub prefix: String,
    pub secret_hash: [u8; 32],
    /// As [`ApiKeyScope::normalized`] has them.
    pub scopes: Vec<ApiKeyScope>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What came of a key that somebody offered.
#[derive(Clone, Debug)]
pub enum KeySignIn {
    Accepted(KeyHolder),
    Refused(KeyRefusal),
    /// The key is good, and its user is suspended.
    Suspended(UserId),
}

/// The user behind a key.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    pub viewer: Viewer,
    pub key_id: ApiKeyId,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why a key was refused: for the log. Whoever offers a wrong one learns nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    Unknown,
    Revoked,
    Expired,
    /// Its user is being deleted.
    Deleted,
}

impl KeyRefusal {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "the API key is unknown",
            Self::Revoked => "the API key is revoked",
            Self::Expired => "the API key has expired",
            Self::Deleted => "the user of the API key is deleted",
        }
    }
}

/// What ended lately, so that what came in with it must end too.
#[derive(Clone, Debug)]
pub struct Endings {
    /// When the database was asked, by its own clock.
    pub asked_at: DateTime<Utc>,
    pub keys: Vec<(UserId, ApiKeyId)>,
    /// Suspended or deleted.
    pub users: Vec<UserId>,
}

macro_rules! columns {
    () => {
        "id, name, prefix, scopes, created_at, last_used_at, expires_at, revoked_at"
    };
}

impl Database {
    /// The viewer whom a key stands for. The hash is compared in constant time, and an unknown
    /// prefix costs as much as a known one. Writes only when the key was last used more than a
    /// minute ago.
    pub async fn sign_in_by_key(
        &self,
        prefix: &str,
        secret_hash: &[u8; 32],
    ) -> Result<KeySignIn, DbError> {
        let mut tx = self.system_tx(SystemReason::SignIn).await?;
        let outcome = tx.sign_in_by_key(prefix, secret_hash).await?;
        if let KeySignIn::Accepted(_) = outcome {
            tx.commit().await?;
        }
        Ok(outcome)
    }

    /// What a sign-in by a key would come to, for somebody who only asks: it leaves no trace.
    pub async fn rehearse_sign_in_by_key(
        &self,
        prefix: &str,
        secret_hash: &[u8; 32],
    ) -> Result<KeySignIn, DbError> {
        let mut tx = self.system_tx(SystemReason::SignIn).await?;
        tx.sign_in_by_key(prefix, secret_hash).await
    }

    /// What ended since the database was last asked, and some time before that: a transaction
    /// that was under way then may have come through only after it. `None`: just now.
    pub async fn endings(&self, last_asked: Option<DateTime<Utc>>) -> Result<Endings, DbError> {
        let mut tx = self.system_tx(SystemReason::Endings).await?;
        let endings = tx.endings(last_asked).await?;
        tx.commit().await?;
        Ok(endings)
    }
}

impl SystemTx {
    /// The caller commits it, or lets it be undone.
    async fn sign_in_by_key(
        &mut self,
        prefix: &str,
        secret_hash: &[u8; 32],
    ) -> Result<KeySignIn, DbError> {
        let found = self.find_api_key(prefix).await?;
        let stored = found.as_ref().map_or(&[0; 32][..], |key| &key.secret_hash);
        let is_it = bool::from(stored.ct_eq(secret_hash));
        let Some(key) = found.filter(|_| is_it) else {
            return Ok(KeySignIn::Refused(KeyRefusal::Unknown));
        };
        if key.is_revoked {
            return Ok(KeySignIn::Refused(KeyRefusal::Revoked));
        }
        if key.is_expired {
            return Ok(KeySignIn::Refused(KeyRefusal::Expired));
        }
        if key.is_deleted {
            return Ok(KeySignIn::Refused(KeyRefusal::Deleted));
        }
        let user_id = UserId::from_uuid(key.user_id);
        if key.is_suspended {
            return Ok(KeySignIn::Suspended(user_id));
        }
        let claims: PolicyClaims =
            serde_json::from_str(&key.claims).map_err(|_| DbError::Corrupt {
                column: "api_keys.claims",
            })?;
        let access = Access::of_key(&scopes_of(&key.scopes)?, key.is_admin);
        if !key.is_current {
            self.note_use_of_api_key(user_id, key.id).await?;
        }
        Ok(KeySignIn::Accepted(KeyHolder {
            viewer: Viewer::new(user_id, claims, access),
            key_id: ApiKeyId::from_uuid(key.id),
            expires_at: key.expires_at,
        }))
    }

    async fn find_api_key(&mut self, prefix: &str) -> Result<Option<FoundKey>, DbError> {
        sqlx::query_as(
            "select k.user_id, k.id, k.secret_hash, k.scopes, k.claims::text as claims, k.expires_at, \
               k.revoked_at is not null as is_revoked, \
               coalesce(k.expires_at <= now(), false) as is_expired, \
               coalesce(k.last_used_at > now() - interval '1 minute', false) as is_current, \
               u.is_admin, u.suspended_at is not null as is_suspended, \
               u.deleted_at is not null as is_deleted \
             from chat.api_keys k join chat.users u using (user_id) where k.prefix = $1",
        )
        .bind(prefix)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("look up an API key"))
    }

    /// Its user was seen too.
    async fn note_use_of_api_key(&mut self, user_id: UserId, id: Uuid) -> Result<(), DbError> {
        sqlx::query(
            "with used as (update chat.api_keys set last_used_at = clock_timestamp() \
               where user_id = $1 and id = $2) \
             update chat.users set last_active_at = clock_timestamp() where user_id = $1",
        )
        .bind(user_id.uuid())
        .bind(id)
        .execute(&mut *self.tx)
        .await
        .map_err(during("note the use of an API key"))?;
        Ok(())
    }

    async fn endings(&mut self, last_asked: Option<DateTime<Utc>>) -> Result<Endings, DbError> {
        let rows: Vec<(DateTime<Utc>, Option<Uuid>, Option<Uuid>)> = sqlx::query_as(
            "with since as (select coalesce($1, now()) - interval '1 minute' as moment) \
             select now(), ended.user_id, ended.key_id from (select) as here left join ( \
               select user_id, id as key_id from chat.api_keys \
                 where revoked_at >= (select moment from since) \
               union all select user_id, null from chat.users \
                 where suspended_at >= (select moment from since) \
               union all select user_id, null from chat.tombstones \
                 where deleted_at >= (select moment from since) \
             ) as ended on true",
        )
        .bind(last_asked)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("look for credentials that ended"))?;
        let (asked_at, ..) = rows.first().expect("an outer join has a row");
        let asked_at = *asked_at;
        let mut endings = Endings {
            asked_at,
            keys: Vec::new(),
            users: Vec::new(),
        };
        for (_, user_id, key_id) in rows {
            match (user_id.map(UserId::from_uuid), key_id) {
                (Some(user_id), Some(key_id)) => endings.keys.push((user_id, key_id.into())),
                (Some(user_id), None) => endings.users.push(user_id),
                (None, _) => {}
            }
        }
        Ok(endings)
    }
}

impl ViewerTx {
    /// Keeps every other maker of the viewer's keys waiting until this transaction ends.
    pub async fn lock_api_keys(&mut self) -> Result<(), DbError> {
        sqlx::query(
            "select pg_advisory_xact_lock(hashtextextended('api_keys ' || user_id, 0)) \
             from chat.users where user_id = $1",
        )
        .bind(self.viewer.user_id().uuid())
        .execute(&mut *self.tx)
        .await
        .map_err(during("lock a user's API keys"))?;
        Ok(())
    }

    /// The key obeys the same policies as the viewer who makes it.
    pub async fn insert_api_key(&mut self, new: &NewApiKey) -> Result<ApiKey, DbError> {
        let claims =
            serde_json::to_string(self.viewer.claims()).expect("three strings always become JSON");
        let row: KeyRow = sqlx::query_as(concat!(
            "insert into chat.api_keys \
               (user_id, id, name, prefix, secret_hash, scopes, claims, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8) returning ",
            columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(new.id.uuid())
        .bind(&new.name)
        .bind(&new.prefix)
        .bind(&new.secret_hash[..])
        .bind(new.scopes.iter().map(|it| it.as_str()).collect::<Vec<_>>())
        .bind(claims)
        .bind(new.expires_at)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("store an API key"))?;
        row.try_into()
    }

    /// Those of the ids that are the viewer's, in no order.
    pub async fn api_keys(&mut self, ids: &[ApiKeyId]) -> Result<Vec<ApiKey>, DbError> {
        let rows: Vec<KeyRow> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from chat.api_keys where user_id = $1 and id = any($2)"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load API keys"))?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// One page of the viewer's keys, the newest first. Ids are made in the order of time.
    pub async fn api_key_page(
        &mut self,
        request: PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey>, DbError> {
        let (Slice::First(limit) | Slice::Last(limit)) = request.slice;
        let statement = match request.slice {
            Slice::First(_) => concat!(
                "select ",
                columns!(),
                " from chat.api_keys where user_id = $1 and ($2::uuid is null or id < $2) \
                   and ($3::uuid is null or id > $3) order by id desc limit $4"
            ),
            Slice::Last(_) => concat!(
                "select ",
                columns!(),
                " from chat.api_keys where user_id = $1 and ($2::uuid is null or id < $2) \
                   and ($3::uuid is null or id > $3) order by id limit $4"
            ),
        };
        let rows: Vec<KeyRow> = sqlx::query_as(statement)
            .bind(self.viewer.user_id().uuid())
            .bind(request.after.map(ApiKeyId::uuid))
            .bind(request.before.map(ApiKeyId::uuid))
            .bind(i64::from(limit) + 1)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("load a page of API keys"))?;
        let keys = rows.into_iter().map(ApiKey::try_from);
        Ok(Page::from_overfull(
            keys.collect::<Result<_, _>>()?,
            &request,
        ))
    }

    pub async fn count_api_keys(&mut self) -> Result<i64, DbError> {
        sqlx::query_scalar("select count(*) from chat.api_keys where user_id = $1")
            .bind(self.viewer.user_id().uuid())
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("count API keys"))
    }

    /// Expired ones count.
    pub async fn count_unrevoked_api_keys(&mut self) -> Result<i64, DbError> {
        sqlx::query_scalar(
            "select count(*) from chat.api_keys where user_id = $1 and revoked_at is null",
        )
        .bind(self.viewer.user_id().uuid())
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("count unrevoked API keys"))
    }

    /// `None`: there is no such key, or it is revoked already.
    pub async fn revoke_api_key(&mut self, id: ApiKeyId) -> Result<Option<ApiKey>, DbError> {
        let row: Option<KeyRow> = sqlx::query_as(concat!(
            "update chat.api_keys set revoked_at = clock_timestamp() \
             where user_id = $1 and id = $2 and revoked_at is null returning ",
            columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("revoke an API key"))?;
        row.map(ApiKey::try_from).transpose()
    }
}

#[derive(sqlx::FromRow)]
struct FoundKey {
    user_id: Uuid,
    id: Uuid,
    secret_hash: Vec<u8>,
    scopes: Vec<String>,
    claims: String,
    expires_at: Option<DateTime<Utc>>,
    is_revoked: bool,
    is_expired: bool,
    is_current: bool,
    is_admin: bool,
    is_suspended: bool,
    is_deleted: bool,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Uuid,
    name: String,
    prefix: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = DbError;

    fn try_from(row: KeyRow) -> Result<Self, DbError> {
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            name: row.name,
            prefix: row.prefix,
            scopes: scopes_of(&row.scopes)?,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

fn scopes_of(words: &[String]) -> Result<Vec<ApiKeyScope>, DbError> {
    let scope = |word: &String| {
        ApiKeyScope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or(DbError::Corrupt {
                column: "api_keys.scopes",
            })
    };
    words.iter().map(scope).collect()
}
