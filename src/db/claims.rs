//! Which process carries out which run: those that wait, and those whose process is gone.
//!
//! Invariant: a run has one holder. Each claim raises its fence, so whoever held it before can
//! write nothing more. Who counts a user's places, in order to give one away, holds the lock on
//! them until that is committed.

use std::time::Duration;

use uuid::Uuid;

use super::{DbError, SystemTx, Viewer, error::during};
use crate::{
    auth::PolicyClaims,
    model::{Access, ConversationId, MessageId, ProcessId, UserId},
};

/// The lock on a user's places, as a number.
macro_rules! places_lock {
    ($user:literal) => {
        concat!("hashtextextended(", $user, "::text, 7232405)")
    };
}
pub(super) use places_lock;

/// Whether nobody carries out the run `r`.
macro_rules! is_free {
    () => {
        "(r.process_id is null or r.lease_expires_at < statement_timestamp())"
    };
}
pub(super) use is_free;

/// Whether the run `r` is the first of its conversation: the others are not begun before it has
/// ended.
macro_rules! is_first {
    () => {
        "not exists (select from chat.replies earlier where earlier.user_id = r.user_id \
           and earlier.conversation_id = r.conversation_id and earlier.position < r.position)"
    };
}
pub(super) use is_first;

/// Gives the runs `chosen` to the process $1 for $2 milliseconds. $3 losses are too many for another
/// attempt.
macro_rules! claimed {
    () => {
        " update chat.replies r set process_id = $1, losses = chosen.losses, fence = r.fence + 1, \
            lease_expires_at = clock_timestamp() + $2 * interval '1 millisecond', \
            attempt = r.attempt + (chosen.losses < $3)::int \
          from chosen where r.user_id = chosen.user_id and r.message_id = chosen.message_id \
          returning r.user_id, r.message_id, r.conversation_id, r.position, \
            r.claims::text as claims, r.fence, r.attempt, r.losses, \
            r.stop_requested_at is not null as is_unwanted"
    };
}

/// Who asks for runs, and on what terms.
#[derive(Clone, Copy, Debug)]
pub struct Claims {
    pub process_id: ProcessId,
    pub lease: Duration,
    /// How many runs of one user may be carried out at once.
    pub most_at_once: u32,
    /// How many of its processes may be lost before a run is given up.
    pub most_losses: u32,
}

/// A run that the process which asked for it now holds.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    pub viewer: Viewer,
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub position: i32,
    pub fence: i64,
    pub attempt: i32,
    pub fate: Fate,
}

/// What is to be done with a claimed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its reply is to be written, from the beginning.
    Write,
    /// Too many of its processes were lost: its reply is to be ended.
    Lost,
    /// Its user wants no more of it: its reply is to be ended.
    Unwanted,
    /// Nobody can read whose policies it obeys: its reply is to be ended.
    Unreadable,
}

impl SystemTx {
    /// Whose runs can be claimed, those with the oldest first, and whether this transaction has
    /// locked their places: of a user whose places somebody else has locked, nothing is known.
    /// Looks at no more than `most` runs that wait and as many whose lease is over, and at none of
    /// those users who are `passed_by`.
    pub async fn lock_waiting_users(
        &mut self,
        claims: &Claims,
        most: u32,
        passed_by: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, DbError> {
        // Users without a free place are known beforehand, so that the search passes their runs by.
        let rows: Vec<(Uuid, bool)> = sqlx::query_as(concat!(
            "with full_users (ids) as (select $3::uuid[] || array(\
               select user_id from chat.replies where lease_expires_at >= statement_timestamp() \
               group by user_id having count(*) >= $1)), \
             found as (\
               (select r.user_id, r.created_at from chat.replies r \
                where r.process_id is null and r.user_id <> all ((select ids from full_users)::uuid[]) and ",
            is_first!(),
            " order by r.created_at, r.user_id, r.message_id limit $2) \
               union all \
               (select r.user_id, r.created_at from chat.replies r \
                where r.lease_expires_at < statement_timestamp() \
                  and r.user_id <> all ((select ids from full_users)::uuid[]) \
                order by r.lease_expires_at limit $2)), \
             users as materialized (\
               select user_id from found group by user_id order by min(created_at) limit $2) \
             select user_id, pg_try_advisory_xact_lock(",
            places_lock!("user_id"),
            ") from users"
        ))
        .bind(i64::from(claims.most_at_once))
        .bind(i64::from(most))
        .bind(passed_by.iter().map(|user| user.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("look for runs that wait"))?;
        Ok(rows
            .into_iter()
            .map(|(user_id, is_locked)| (user_id.into(), is_locked))
            .collect())
    }

    /// Claims up to twice `most` runs that are to be ended: too many of their processes were lost, or
    /// their users want no more of them. That takes no room, and no place of their users.
    pub async fn claim_doomed(
        &mut self,
        claims: &Claims,
        most: u32,
    ) -> Result<Vec<ClaimedRun>, DbError> {
        let rows: Vec<ClaimedRow> = sqlx::query_as(concat!(
            "with doomed as materialized (\
               (select user_id, message_id from chat.replies \
                where lease_expires_at < statement_timestamp() \
                  and (losses + 1 >= $3 or stop_requested_at is not null) \
                order by lease_expires_at limit $4) \
               union all \
               (select user_id, message_id from chat.replies \
                where process_id is null and stop_requested_at is not null limit $4)), \
             chosen as (\
               select free.* from doomed cross join lateral (\
                 select r.user_id, r.message_id, \
                   r.losses + (r.lease_expires_at is not null)::int as losses \
                 from chat.replies r \
                 where r.user_id = doomed.user_id and r.message_id = doomed.message_id and ",
            is_free!(),
            " for update of r skip locked) free)",
            claimed!()
        ))
        .bind(claims.process_id.uuid())
        .bind(claims.lease.as_millis() as f64)
        .bind(i64::from(claims.most_losses))
        .bind(i64::from(most))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("claim runs that are to be ended"))?;
        Ok(rows
            .into_iter()
            .map(|row| row.claimed(claims.most_losses))
            .collect())
    }

    /// Claims up to `most` runs of these users, the oldest first, as far as the users have places
    /// and a run is the first of its conversation. Their places are locked before. Runs whose rows
    /// somebody is at work on are left for the next time.
    pub async fn claim_runs(
        &mut self,
        claims: &Claims,
        users: &[UserId],
        most: u32,
    ) -> Result<Vec<ClaimedRun>, DbError> {
        let rows: Vec<ClaimedRow> = sqlx::query_as(concat!(
            "with chosen as (\
               select r.user_id, r.message_id, \
                 r.losses + (r.lease_expires_at is not null)::int as losses \
               from unnest($4::uuid[]) as asked (id) cross join lateral (\
                 select r.user_id, r.message_id, r.created_at from chat.replies r \
                 where r.user_id = asked.id and ",
            is_free!(),
            " and ",
            is_first!(),
            " order by r.created_at, r.message_id limit greatest(0, $5 - (\
                   select count(*) from chat.replies held \
                   where held.user_id = asked.id and held.lease_expires_at >= statement_timestamp()))) ready \
               join chat.replies r on r.user_id = ready.user_id and r.message_id = ready.message_id \
               where ",
            is_free!(),
            " order by ready.created_at, r.user_id, r.message_id limit $6 for update of r skip locked)",
            claimed!()
        ))
        .bind(claims.process_id.uuid())
        .bind(claims.lease.as_millis() as f64)
        .bind(i64::from(claims.most_losses))
        .bind(users.iter().map(|user| user.uuid()).collect::<Vec<_>>())
        .bind(i64::from(claims.most_at_once))
        .bind(i64::from(most))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("claim runs"))?;
        Ok(rows
            .into_iter()
            .map(|row| row.claimed(claims.most_losses))
            .collect())
    }
}

#[derive(sqlx::FromRow)]
struct ClaimedRow {
    user_id: Uuid,
    message_id: Uuid,
    conversation_id: Uuid,
    position: i32,
    claims: String,
    fence: i64,
    attempt: i32,
    losses: i32,
    is_unwanted: bool,
}

impl ClaimedRow {
    fn claimed(self, most_losses: u32) -> ClaimedRun {
        let claims = serde_json::from_str::<PolicyClaims>(&self.claims);
        let fate = if claims.is_err() {
            Fate::Unreadable
        } else if self.is_unwanted {
            Fate::Unwanted
        } else if i64::from(self.losses) >= i64::from(most_losses) {
            Fate::Lost
        } else {
            Fate::Write
        };
        ClaimedRun {
            // Nobody's claims, where nobody knows them: they open what the user's id alone opens.
            viewer: Viewer::new(
                self.user_id.into(),
                claims.unwrap_or_default(),
                Access::of_user(false),
            ),
            message_id: self.message_id.into(),
            conversation_id: self.conversation_id.into(),
            position: self.position,
            fence: self.fence,
            attempt: self.attempt,
            fate,
        }
    }
}
