-- What happened, who did it, with which credential, from where. It outlives its user, so there is
-- no foreign key; the owner of what nobody in particular did is the nil UUID.
create table chat.audit_log (
  user_id uuid not null,
  id uuid not null,
  action text not null,
  target_type text,
  target_id uuid,
  outcome text not null check (outcome in ('SUCCEEDED', 'DENIED', 'FAILED')),
  occurred_at timestamptz not null default clock_timestamp(),
  ip_address inet,
  credential text not null,
  primary key (user_id, id),
  check ((target_type is null) = (target_id is null))
);
-- A user's own events, newest first.
create index audit_log_of_user on chat.audit_log (user_id, occurred_at desc, id desc);
-- All events, newest first; from the other end, those whose time is over.
create index audit_log_by_time on chat.audit_log (occurred_at desc, id desc);
-- One event, by an admin who does not know whose it is.
create index audit_log_by_id on chat.audit_log (id);
-- What was done to something, newest first.
create index audit_log_by_target on chat.audit_log (target_type, target_id, occurred_at desc, id desc)
  where target_id is not null;

-- The one way to change what is written. With `older_than`: deletes events before then. With
-- `forgotten`: puts `pseudonym` in the place of that user, as who did it and as whom it was done
-- to, and forgets from where they did it. Takes at most 1,000 events at a time, for each takes some
-- time in the trigger below. Returns how many it were: while there are any, there may be more.
create function chat.retain_audit_log(older_than timestamptz, forgotten uuid, pseudonym uuid)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  changed bigint;
  total bigint := 0;
begin
  if older_than is not null then
    delete from chat.audit_log
    where (user_id, id) in (
      select user_id, id from chat.audit_log where occurred_at < older_than
      order by occurred_at, id limit 1000
    );
    get diagnostics changed = row_count;
    total := total + changed;
  end if;
  if forgotten is not null and pseudonym is not null then
    update chat.audit_log set user_id = pseudonym, ip_address = null
    where (user_id, id) in (
      select user_id, id from chat.audit_log where user_id = forgotten limit 1000
    );
    get diagnostics changed = row_count;
    total := total + changed;
    update chat.audit_log set target_id = pseudonym
    where (user_id, id) in (
      select user_id, id from chat.audit_log
      where target_type = 'user' and target_id = forgotten limit 1000
    );
    get diagnostics changed = row_count;
    total := total + changed;
  end if;
  return total;
end
$$;

create function chat.call_stack() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  stack text;
begin
  get diagnostics stack = pg_context;
  return stack;
end
$$;
comment on function chat.call_stack() is 'Who has called this, innermost first.';

-- Append only, for everybody: grants and policies do not bind a superuser, and a setting could be
-- set by anybody. Lets a change pass only if it is made by a statement of the function above, word
-- for word, that this function itself executes.
--
-- The call stack tells, but as prose in the server's language, with the text of statements in it,
-- which could imitate a stack. So the prose around a statement and around a function's name is
-- read off this function's own entry in it; and what is compared is one whole statement of the
-- other function, after which its end mark can be nothing else: no statement of that function goes
-- on, after its last parenthesis, with the quotation mark that a longer one would have to.
create function chat.keep_audit_log() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  retention constant regprocedure := 'chat.retain_audit_log(timestamptz,uuid,uuid)'::regprocedure;
  stack text;
  own text;
  before_statement text;
  after_statement text;
  before_line text;
  after_line text;
  cause text;
  statement text;
begin
  if tg_op <> 'TRUNCATE' then
    select into stack chat.call_stack();
    -- Three entries lie between that function and whoever caused the change: that function, the
    -- statement above and this function. Here is how the last two are written.
    own := split_part(stack, E'\n', 2);
    before_statement := split_part(own, 'select', 1);
    after_statement := split_part(own, 'chat.call_stack()', 2);
    own := replace(split_part(stack, E'\n', 3), 'chat.keep_audit_log()', retention::text);
    before_line := (regexp_match(own, '^\D*'))[1];
    after_line := (regexp_match(own, '\D*$'))[1];
    -- And here are those of whoever caused it: a statement, and the function that runs it.
    cause := substr(stack, length(split_part(stack, E'\n', 1)) + length(split_part(stack, E'\n', 2))
      + length(split_part(stack, E'\n', 3)) + 4);
    if starts_with(cause, before_statement) then
      cause := substr(cause, length(before_statement) + 1);
      statement := split_part(cause, after_statement || E'\n' || before_line, 1);
      cause := substr(cause, length(statement || after_statement || E'\n' || before_line) + 1);
      if ltrim(split_part(cause, E'\n', 1), '0123456789') = after_line
        and exists (
          select from pg_catalog.pg_proc
          where oid = retention and strpos(prosrc, '  ' || statement || ';') > 0
        )
      then
        return case tg_op when 'DELETE' then old else new end;
      end if;
    end if;
  end if;
  raise exception 'the audit log is append only'
    using errcode = 'insufficient_privilege', hint = 'Only ' || retention::text || ' may change it.';
end
$$;

-- Also where session_replication_role is replica, and for rows that come by replication.
create trigger audit_log_is_append_only
  before update or delete on chat.audit_log for each row execute function chat.keep_audit_log();
alter table chat.audit_log enable always trigger audit_log_is_append_only;
create trigger audit_log_is_never_emptied
  before truncate on chat.audit_log for each statement execute function chat.keep_audit_log();
alter table chat.audit_log enable always trigger audit_log_is_never_emptied;

alter table chat.audit_log enable row level security;
alter table chat.audit_log force row level security;

create policy viewer on chat.audit_log to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy system on chat.audit_log to loquat_system using (true) with check (true);
create policy admin_reads on chat.audit_log for select to loquat_admin using (true);
create policy admin_writes on chat.audit_log for insert to loquat_admin
  with check (user_id = (select chat.viewer_id()));

-- When it happened is the database's to say.
grant select, insert (user_id, id, action, target_type, target_id, outcome, ip_address, credential)
  on chat.audit_log to loquat_viewer, loquat_system, loquat_admin;
grant update (user_id, target_id, ip_address), delete on chat.audit_log to loquat_system;

revoke execute on function chat.retain_audit_log(timestamptz, uuid, uuid) from public;
grant execute on function chat.retain_audit_log(timestamptz, uuid, uuid) to loquat_system;
