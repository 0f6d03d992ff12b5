//! Runs whose own user may not end them, since a policy of the database's owner stands in the way.
//!
//! The system ends them in the user's place. It reads no text: whoever has it hands it in.

use super::{
    Database, DbError, Outcome, RunKey, SystemReason, SystemTx, changes::Changes,
    conversations::next_list_revision, error::during,
};
use crate::model::ConversationId;

/// A run that is to be ended, and with what.
#[derive(Clone, Copy, Debug)]
pub struct AbandonedRun<'a> {
    pub key: RunKey,
    pub conversation_id: ConversationId,
    pub fence: i64,
    pub text: &'a str,
    pub outcome: &'a Outcome,
}

impl Database {
    /// Ends a run and its message, as a change that everybody hears of who follows the conversation.
    /// Whether it was still held under this fence.
    pub async fn abandon_run(&self, run: AbandonedRun<'_>) -> Result<bool, DbError> {
        let mut changes = Changes::new(&self.listeners, run.key.user_id);
        let mut tx = self.system_tx(SystemReason::Recovery).await?;
        let ended = tx.abandon_run(run).await?;
        if ended {
            changes.note(run.conversation_id);
            changes.begin_commit();
        }
        tx.commit().await?;
        Ok(ended)
    }
}

impl SystemTx {
    async fn abandon_run(&mut self, run: AbandonedRun<'_>) -> Result<bool, DbError> {
        // Everybody locks a conversation before its runs.
        sqlx::query("select from chat.conversations where user_id = $1 and id = $2 for update")
            .bind(run.key.user_id.uuid())
            .bind(run.conversation_id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("lock the conversation of a run"))?;
        let (status, _, error) = run.outcome.parts();
        let ended = sqlx::query(concat!(
            "with ended as (\
               delete from chat.replies where user_id = $1 and message_id = $2 and fence = $3 \
               returning user_id, message_id, conversation_id), ",
            next_list_revision!("ended"),
            ", touched as (\
               update chat.conversations c set revision = c.revision + 1, list_revision = list.next, \
                 updated_at = clock_timestamp() \
               from ended cross join list where c.user_id = ended.user_id and c.id = ended.conversation_id \
               returning c.revision) \
             update chat.messages m set status = $4, content = $5, error_code = $6, error_message = $7, \
               revision = touched.revision, completed_at = clock_timestamp() \
             from ended cross join touched where m.user_id = ended.user_id and m.id = ended.message_id \
               and m.status in ('PENDING', 'STREAMING')"
        ))
        .bind(run.key.user_id.uuid())
        .bind(run.key.message_id.uuid())
        .bind(run.fence)
        .bind(status)
        .bind(run.text)
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| error.message.as_str()))
        .execute(&mut *self.tx)
        .await
        .map_err(during("abandon a run"))?;
        Ok(ended.rows_affected() > 0)
    }
}
