//! What the database itself sees of writers who should write no more: what is stored at the end may
//! look right all the same.

use sqlx::PgConnection;

/// A chunk of another attempt than its run's, and a change of a message that had ended.
const TRIGGERS: &str = "
    create table public.witnessed (what text not null);
    create function public.witness_chunk() returns trigger language plpgsql security definer as $$
    begin
        insert into public.witnessed
        select format('attempt %s wrote into %s, which was at attempt %s', new.attempt, r.message_id, r.attempt)
        from chat.replies r
        where r.user_id = new.user_id and r.message_id = new.message_id and r.attempt <> new.attempt;
        return null;
    end $$;
    create trigger witness after insert or update on chat.reply_chunks
        for each row execute function public.witness_chunk();
    create function public.witness_message() returns trigger language plpgsql security definer as $$
    begin
        insert into public.witnessed values (format('%s changed after its end', new.id));
        return null;
    end $$;
    create trigger witness after update on chat.messages
        for each row when (old.completed_at is not null
            and (new.completed_at, new.status, new.content)
              is distinct from (old.completed_at, old.status, old.content))
        execute function public.witness_message()";

/// Begins to watch: the schema is there.
pub async fn call(connection: &mut PgConnection) {
    sqlx::raw_sql(TRIGGERS)
        .execute(connection)
        .await
        .expect("the triggers are made");
}

pub async fn testimony(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select what from public.witnessed")
        .fetch_all(connection)
        .await
        .expect("what was seen")
}
