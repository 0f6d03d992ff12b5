-- What replies cost. A row outlives its message, so that a deleted conversation is still counted;
-- it goes with its user.
create table chat.usage (
  user_id uuid not null references chat.users on delete cascade,
  -- The message that was written.
  id uuid not null,
  occurred_at timestamptz not null default clock_timestamp(),
  prompt_tokens int not null check (prompt_tokens >= 0),
  completion_tokens int not null check (completion_tokens >= 0),
  total_tokens int not null check (total_tokens >= 0),
  primary key (user_id, id)
);
create index usage_of_user on chat.usage (user_id, occurred_at)
  include (prompt_tokens, completion_tokens, total_tokens);
create index usage_by_time on chat.usage (occurred_at)
  include (prompt_tokens, completion_tokens, total_tokens);

alter table chat.usage enable row level security;
alter table chat.usage force row level security;

create policy viewer on chat.usage to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy only_deleted on chat.usage as restrictive for delete to loquat_viewer
  using (exists (select from chat.users u
    where u.user_id = (select chat.viewer_id()) and u.deleted_at is not null));
create policy admin on chat.usage for select to loquat_admin using (true);

grant select, insert, delete on chat.usage to loquat_viewer;
grant select on chat.usage to loquat_admin;
