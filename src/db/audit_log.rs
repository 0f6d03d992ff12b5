use std::net::IpAddr;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{AdminTx, DbError, SystemTx, ViewerTx, error::during, statements::Connection};
use crate::{
    model::{
        AuditEvent, AuditEventId, AuditOutcome, AuditTarget, NewAuditEvent, Page, PageRequest,
        Slice, UserId,
    },
    telemetry::security,
};

/// Where an event stands in a list, newest first: its time, then its id.
pub type AuditEventKey = (DateTime<Utc>, AuditEventId);

/// The owner of what nobody in particular did.
const NOBODY: Uuid = Uuid::nil();

macro_rules! columns {
    () => {
        "user_id, id, action, target_type, target_id, outcome, occurred_at, \
         host(ip_address) as address, credential"
    };
}

/// What a transaction has noted: it goes to the security log once it is true.
#[derive(Default)]
pub(super) struct Recorded(Vec<(Option<UserId>, NewAuditEvent)>);

impl Recorded {
    /// Must be called after the commit.
    pub(super) fn log(&self) {
        for (user_id, event) in &self.0 {
            security::log(*user_id, event, None);
        }
    }

    async fn record(
        &mut self,
        connection: &mut Connection,
        user_id: Option<UserId>,
        event: &NewAuditEvent,
    ) -> Result<(), DbError> {
        insert(connection, user_id, event).await?;
        self.0.push((user_id, event.clone()));
        Ok(())
    }
}

impl ViewerTx {
    /// Notes what the viewer does in this transaction; in the security log too, once it is
    /// committed.
    pub async fn record(&mut self, event: &NewAuditEvent) -> Result<(), DbError> {
        let user_id = self.viewer.user_id();
        self.recorded
            .record(&mut self.tx, Some(user_id), event)
            .await
    }

    /// One page of what the viewer has done, newest first.
    pub async fn audit_page(
        &mut self,
        request: PageRequest<AuditEventKey>,
    ) -> Result<Page<AuditEvent>, DbError> {
        let by = self.viewer.user_id();
        page(&mut self.tx, &[Part::By(by)], request).await
    }

    /// Those of the ids that the viewer has done, in no order.
    pub async fn audit_events(&mut self, ids: &[AuditEventId]) -> Result<Vec<AuditEvent>, DbError> {
        let rows: Vec<EventRow> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from chat.audit_log where user_id = $1 and id = any($2)"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load audit events"))?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }
}

impl AdminTx {
    /// Notes what the admin does in this transaction; in the security log too, once it is
    /// committed.
    pub async fn record(&mut self, event: &NewAuditEvent) -> Result<(), DbError> {
        let user_id = self.admin.user_id();
        self.recorded
            .record(&mut self.tx, Some(user_id), event)
            .await
    }

    /// One page of what anybody has done, newest first; with `about`, of what that user has done
    /// and what was done to them.
    pub async fn audit_page(
        &mut self,
        about: Option<UserId>,
        request: PageRequest<AuditEventKey>,
    ) -> Result<Page<AuditEvent>, DbError> {
        match about {
            None => page(&mut self.tx, &[Part::Everything], request).await,
            Some(user_id) => {
                let parts = [Part::By(user_id), Part::To(user_id)];
                page(&mut self.tx, &parts, request).await
            }
        }
    }

    /// Those of the ids that are events', in no order.
    pub async fn audit_events(&mut self, ids: &[AuditEventId]) -> Result<Vec<AuditEvent>, DbError> {
        let rows: Vec<EventRow> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from chat.audit_log where id = any($1)"
        ))
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load anybody's audit events"))?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }
}

impl SystemTx {
    /// Notes what a user does in this transaction, or nobody in particular; in the security log
    /// too, once it is committed.
    pub async fn record(
        &mut self,
        user_id: Option<UserId>,
        event: &NewAuditEvent,
    ) -> Result<(), DbError> {
        self.recorded.record(&mut self.tx, user_id, event).await
    }

    /// Notes what has happened already and is in the security log. Nothing is noted of a user who
    /// is gone: their events have a pseudonym by now.
    pub async fn record_afterwards(
        &mut self,
        user_id: Option<UserId>,
        event: &NewAuditEvent,
    ) -> Result<(), DbError> {
        if let Some(user_id) = user_id {
            // The lock keeps a deletion waiting that would look for this event before it is there.
            let found: Option<i32> =
                sqlx::query_scalar("select 1 from chat.users where user_id = $1 for key share")
                    .bind(user_id.uuid())
                    .fetch_optional(&mut *self.tx)
                    .await
                    .map_err(during("look for a user who did something"))?;
            if found.is_none() {
                return Ok(());
            }
        }
        insert(&mut self.tx, user_id, event).await
    }

    /// Deletes some of the events before this time. How many there were: while there are any,
    /// there may be more.
    pub async fn delete_audit_events(&mut self, before: DateTime<Utc>) -> Result<i64, DbError> {
        sqlx::query_scalar("select chat.retain_audit_log($1, null, null)")
            .bind(before)
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("delete old audit events"))
    }

    /// Puts a pseudonym into the place of a deleted user, wherever the log names them, and forgets
    /// where they came from. To be called after the user's row is gone, in the same transaction,
    /// so that nothing is noted in between.
    pub(super) async fn forget_in_audit_log(&mut self, user_id: UserId) -> Result<(), DbError> {
        let pseudonym = self.pseudonym(user_id).await?;
        loop {
            let changed: i64 = sqlx::query_scalar("select chat.retain_audit_log(null, $1, $2)")
                .bind(user_id.uuid())
                .bind(pseudonym.uuid())
                .fetch_one(&mut *self.tx)
                .await
                .map_err(during("forget a user in the audit log"))?;
            if changed == 0 {
                return Ok(());
            }
        }
    }
}

async fn insert(
    connection: &mut Connection,
    user_id: Option<UserId>,
    event: &NewAuditEvent,
) -> Result<(), DbError> {
    let (target_type, target_id) = event.target.map(AuditTarget::parts).unzip();
    sqlx::query(
        "insert into chat.audit_log \
           (user_id, id, action, target_type, target_id, outcome, ip_address, credential) \
         values ($1, $2, $3, $4, $5, $6, $7::text::inet, $8)",
    )
    .bind(user_id.map_or(NOBODY, UserId::uuid))
    .bind(event.id.uuid())
    .bind(event.action.as_str())
    .bind(target_type)
    .bind(target_id)
    .bind(event.outcome.as_str())
    .bind(event.provenance.address.map(|address| address.to_string()))
    .bind(&*event.provenance.credential)
    .execute(connection)
    .await
    .map_err(during("note an audit event"))?;
    Ok(())
}

/// A part of the log that is in the order of time by an index of its own.
enum Part {
    Everything,
    By(UserId),
    To(UserId),
}

impl Part {
    fn push_condition(&self, query: &mut QueryBuilder<Postgres>) {
        match self {
            Self::Everything => query.push("true"),
            Self::By(user_id) => query.push("user_id = ").push_bind(user_id.uuid()),
            Self::To(user_id) => query
                .push("target_type = 'user' and target_id = ")
                .push_bind(user_id.uuid()),
        };
    }
}

/// A page of what is in any of the parts, newest first. Each is read only as far as the page goes.
async fn page(
    connection: &mut Connection,
    parts: &[Part],
    request: PageRequest<AuditEventKey>,
) -> Result<Page<AuditEvent>, DbError> {
    // A page from the end is read backwards and turned round.
    let (limit, direction) = match request.slice {
        Slice::First(limit) => (limit, "desc"),
        Slice::Last(limit) => (limit, "asc"),
    };
    let push_order = |query: &mut QueryBuilder<Postgres>| {
        query.push(format!(
            " order by occurred_at {direction}, id {direction} limit "
        ));
        query.push_bind(i64::from(limit) + 1);
    };
    let mut query = QueryBuilder::new(concat!("select ", columns!(), " from ("));
    for (index, part) in parts.iter().enumerate() {
        query.push(if index == 0 { "(" } else { ") union (" });
        query.push("select * from chat.audit_log where ");
        part.push_condition(&mut query);
        for (key, comparison) in [(request.after, "<"), (request.before, ">")] {
            if let Some((time, id)) = key {
                query.push(format!(" and (occurred_at, id) {comparison} ("));
                query.push_bind(time).push(", ").push_bind(id.uuid());
                query.push(")");
            }
        }
        push_order(&mut query);
    }
    query.push(")) as found");
    push_order(&mut query);
    let rows: Vec<EventRow> = query
        .build_query_as()
        .fetch_all(connection)
        .await
        .map_err(during("load a page of audit events"))?;
    let events: Result<Vec<_>, _> = rows.into_iter().map(AuditEvent::try_from).collect();
    Ok(Page::from_overfull(events?, &request))
}

#[derive(sqlx::FromRow)]
struct EventRow {
    user_id: Uuid,
    id: Uuid,
    action: String,
    target_type: Option<String>,
    target_id: Option<Uuid>,
    outcome: String,
    occurred_at: DateTime<Utc>,
    address: Option<String>,
    credential: String,
}

impl TryFrom<EventRow> for AuditEvent {
    type Error = DbError;

    fn try_from(row: EventRow) -> Result<Self, DbError> {
        let corrupt = |column| DbError::Corrupt { column };
        let address = row.address.as_deref().map(str::parse::<IpAddr>);
        Ok(Self {
            id: AuditEventId::from_uuid(row.id),
            user_id: (row.user_id != NOBODY).then_some(UserId::from_uuid(row.user_id)),
            action: row.action,
            target: row
                .target_type
                .as_deref()
                .zip(row.target_id)
                .and_then(|(target_type, id)| AuditTarget::from_parts(target_type, id)),
            outcome: AuditOutcome::from_word(&row.outcome).ok_or(corrupt("audit_log.outcome"))?,
            occurred_at: row.occurred_at,
            address: address
                .transpose()
                .map_err(|_| corrupt("audit_log.ip_address"))?,
            credential: row.credential,
        })
    }
}
