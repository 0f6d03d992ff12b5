-- Runs that wait and move between processes, versions of messages, and revisions by which
-- subscribers find what they have missed.

-- The owner of a table obeys its policies like everybody else, and none lets them see or write what is
-- filled in below. Nobody else comes to these tables before this transaction ends.
alter table chat.conversations no force row level security;
alter table chat.messages no force row level security;
alter table chat.replies no force row level security;
alter table chat.server_keys no force row level security;

alter table chat.conversations
  -- The revision at which the active path last changed other than at its end.
  add column path_revision bigint not null default 0,
  -- How many messages the active path has: the positions on it are all those below. An index that has
  -- lost many entries keeps them for a while, and nobody reads beyond the end to find it.
  add column path_length int not null default 0,
  -- The revision of its user's list at which the conversation last changed.
  add column list_revision bigint not null default 0,
  -- The one at which it came into the list.
  add column added_revision bigint not null default 0,
  -- Whether its title, or that it has none, is somebody's word: then no model titles it.
  add column title_settled boolean not null default false;
update chat.conversations c set title_settled = title is not null,
  path_length = (select count(*) from chat.messages m
    where m.user_id = c.user_id and m.conversation_id = c.id and m.active);
create index conversations_by_list_revision on chat.conversations (user_id, list_revision);

-- Grows with every change in the user's list of conversations.
create table chat.list_revisions (
  user_id uuid primary key references chat.users on delete cascade,
  revision bigint not null
);

-- What went from a user's list, for as long as a subscriber may not have heard of it.
create table chat.deleted_conversations (
  user_id uuid not null references chat.users on delete cascade,
  id uuid not null,
  list_revision bigint not null,
  deleted_at timestamptz not null default clock_timestamp(),
  primary key (user_id, id)
);
create index deleted_conversations_by_revision on chat.deleted_conversations (user_id, list_revision);
create index deleted_conversations_by_time on chat.deleted_conversations (deleted_at);

alter table chat.messages
  -- The revision of its conversation at which the message last changed.
  add column revision bigint not null default 0,
  -- Its number among the alternatives at its place.
  add column version_number int not null default 1 check (version_number > 0),
  -- Whether it is the one of its alternatives that was last active: the way down from its parent.
  add column preferred boolean not null default true,
  add column rating text check (rating in ('UP', 'DOWN')),
  add column feedback_comment text check (feedback_comment is null or rating is not null);
create index messages_by_revision on chat.messages (user_id, conversation_id, revision);
drop index chat.messages_by_parent;
create unique index messages_by_parent on chat.messages (user_id, conversation_id, parent_id, version_number)
  nulls not distinct;
create unique index messages_preferred on chat.messages (user_id, conversation_id, parent_id)
  nulls not distinct where preferred;

-- A run that waits has no process and no lease.
alter table chat.replies
  alter column process_id drop not null,
  alter column lease_expires_at drop not null,
  add constraint replies_held_under_lease check ((process_id is null) = (lease_expires_at is null)),
  -- Its message's place on the path: the runs of one conversation are carried out in this order.
  add column position int not null default 0,
  -- How many processes that wrote it were lost.
  add column losses int not null default 0,
  add column stop_requested_at timestamptz;
create index replies_waiting on chat.replies (created_at, user_id, message_id) where process_id is null;
-- What a process looks after at each tick, however many others wait or are held.
create index replies_by_process on chat.replies (process_id) where process_id is not null;
create index replies_to_stop on chat.replies (process_id) where stop_requested_at is not null;
update chat.replies r set position = m.position from chat.messages m
  where m.user_id = r.user_id and m.id = r.message_id;

-- A title costs tokens and is no reply. Its id is that of nothing else.
alter table chat.usage add column kind text not null default 'REPLY' check (kind in ('REPLY', 'TITLE'));
drop index chat.usage_of_user, chat.usage_by_time;
create index usage_of_user on chat.usage (user_id, occurred_at)
  include (kind, prompt_tokens, completion_tokens, total_tokens);
create index usage_by_time on chat.usage (occurred_at)
  include (kind, prompt_tokens, completion_tokens, total_tokens);

alter table chat.list_revisions enable row level security;
alter table chat.list_revisions force row level security;
alter table chat.deleted_conversations enable row level security;
alter table chat.deleted_conversations force row level security;

create policy viewer on chat.list_revisions to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy viewer on chat.deleted_conversations to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy system on chat.conversations to loquat_system using (true);
create policy system on chat.list_revisions to loquat_system using (true);
create policy system on chat.deleted_conversations to loquat_system using (true);

grant select, insert, update on chat.list_revisions to loquat_viewer;
grant select, insert on chat.deleted_conversations to loquat_viewer;
-- Of conversations only how far they are.
grant select (user_id, id, revision), update (revision, list_revision, updated_at)
  on chat.conversations to loquat_system;
grant select, insert, update on chat.list_revisions to loquat_system;
grant select (deleted_at), delete on chat.deleted_conversations to loquat_system;
-- To end a reply whose own user's policies keep everybody else from ending it.
grant delete on chat.replies to loquat_system;
grant update (content, status, error_code, error_message, revision, completed_at) on chat.messages to loquat_system;

-- What the processes of this database seal with whatever they tell each other.
insert into chat.server_keys (name, key) values ('broker', sha256(
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

alter table chat.conversations force row level security;
alter table chat.messages force row level security;
alter table chat.replies force row level security;
alter table chat.server_keys force row level security;
