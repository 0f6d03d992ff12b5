-- Every primary key begins with user_id and every foreign key carries it, so that nothing of one
-- user can refer to anything of another.

create function chat.viewer_id() returns uuid
  language sql stable parallel safe
  as $$ select nullif(pg_catalog.current_setting('loquat.user_id', true), '')::uuid $$;
comment on function chat.viewer_id() is
  'The user of this transaction, or null. A setting that was local to an earlier transaction reads as an empty text.';

create table chat.users (
  user_id uuid primary key,
  issuer text not null,
  external_id text not null,
  email text,
  display_name text,
  created_at timestamptz not null default clock_timestamp(),
  last_active_at timestamptz not null default clock_timestamp(),
  unique (issuer, external_id)
);

create table chat.conversations (
  user_id uuid not null references chat.users on delete cascade,
  id uuid not null,
  title text,
  system_prompt text,
  model text,
  archived boolean not null default false,
  pinned boolean not null default false,
  revision bigint not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  last_active_at timestamptz not null,
  primary key (user_id, id)
);
create index conversations_by_activity on chat.conversations (user_id, last_active_at, id);
create index conversations_by_creation on chat.conversations (user_id, created_at, id);

create table chat.messages (
  user_id uuid not null,
  id uuid not null,
  conversation_id uuid not null,
  parent_id uuid,
  active boolean not null,
  position int not null check (position >= 0),
  role text not null check (role in ('USER', 'ASSISTANT')),
  content text not null,
  status text not null check (status in ('PENDING', 'STREAMING', 'COMPLETED', 'STOPPED', 'FAILED')),
  error_code text,
  error_message text,
  truncated boolean not null default false,
  model text,
  prompt_tokens int,
  completion_tokens int,
  total_tokens int,
  idempotency_key text,
  created_at timestamptz not null,
  completed_at timestamptz,
  primary key (user_id, id),
  unique (user_id, conversation_id, id),
  foreign key (user_id, conversation_id) references chat.conversations on delete cascade,
  foreign key (user_id, conversation_id, parent_id)
    references chat.messages (user_id, conversation_id, id) on delete cascade,
  check (role = 'ASSISTANT' or status = 'COMPLETED'),
  check ((error_code is null) = (error_message is null)),
  check ((status = 'FAILED') = (error_code is not null)),
  check ((status in ('PENDING', 'STREAMING')) = (completed_at is null)),
  check ((prompt_tokens is null) = (completion_tokens is null) and (prompt_tokens is null) = (total_tokens is null))
);
-- A page of history is one range of this index.
create unique index messages_on_active_path on chat.messages (user_id, conversation_id, position) where active;
create index messages_by_parent on chat.messages (user_id, conversation_id, parent_id);
create index messages_unfinished on chat.messages (user_id, conversation_id, position)
  where status in ('PENDING', 'STREAMING');

-- The run that writes a message: one row while it is unfinished, none afterwards.
create table chat.replies (
  user_id uuid not null,
  message_id uuid not null,
  conversation_id uuid not null,
  -- Whose policies the run obeys: sub, role and iss of the token that asked for it.
  claims jsonb not null,
  process_id uuid not null,
  lease_expires_at timestamptz not null,
  fence bigint not null,
  attempt int not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (user_id, message_id),
  foreign key (user_id, conversation_id, message_id)
    references chat.messages (user_id, conversation_id, id) on delete cascade
);
create index replies_by_conversation on chat.replies (user_id, conversation_id, message_id);
create index replies_by_lease on chat.replies (lease_expires_at);

-- What a run wrote since the tick before; folded into messages.content when it ends. Offsets and
-- lengths are UTF-16 code units, counted by the server: PostgreSQL counts code points.
create table chat.reply_chunks (
  user_id uuid not null,
  message_id uuid not null,
  attempt int not null,
  "offset" int not null check ("offset" >= 0),
  length int not null check (length > 0),
  text text not null,
  primary key (user_id, message_id, attempt, "offset"),
  foreign key (user_id, message_id) references chat.replies on delete cascade
);

-- No foreign key to what a key made: a key outlives it.
create table chat.idempotency_keys (
  user_id uuid not null references chat.users on delete cascade,
  operation text not null,
  key text not null,
  fingerprint bytea not null,
  conversation_id uuid,
  greeting_id uuid,
  user_message_id uuid,
  reply_id uuid,
  created_at timestamptz not null default clock_timestamp(),
  -- When what it made was deleted; the key goes a day later.
  deleted_at timestamptz,
  primary key (user_id, operation, key)
);
create index idempotency_keys_by_conversation on chat.idempotency_keys (user_id, conversation_id);
create index idempotency_keys_by_deletion on chat.idempotency_keys (deleted_at) where deleted_at is not null;

alter table chat.users enable row level security;
alter table chat.users force row level security;
alter table chat.conversations enable row level security;
alter table chat.conversations force row level security;
alter table chat.messages enable row level security;
alter table chat.messages force row level security;
alter table chat.replies enable row level security;
alter table chat.replies force row level security;
alter table chat.reply_chunks enable row level security;
alter table chat.reply_chunks force row level security;
alter table chat.idempotency_keys enable row level security;
alter table chat.idempotency_keys force row level security;

-- The sub-select is evaluated once a statement, not once a row.
create policy viewer on chat.users to loquat_viewer
  using (user_id = (select chat.viewer_id()));
create policy viewer on chat.conversations to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy viewer on chat.messages to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy viewer on chat.replies to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy viewer on chat.reply_chunks to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy viewer on chat.idempotency_keys to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));

create policy system on chat.users to loquat_system using (true) with check (true);
create policy system on chat.messages to loquat_system using (true) with check (true);
create policy system on chat.replies to loquat_system using (true) with check (true);
create policy system on chat.reply_chunks to loquat_system using (true) with check (true);
create policy system on chat.idempotency_keys to loquat_system using (true) with check (true);

grant usage on schema chat to loquat_viewer, loquat_system, loquat_admin;

grant select on chat.users to loquat_viewer;
grant select, insert, update, delete on chat.conversations to loquat_viewer;
grant select, insert, update, delete on chat.messages to loquat_viewer;
grant select, insert, update, delete on chat.replies to loquat_viewer;
grant select on chat.reply_chunks to loquat_viewer;
grant select, insert, update on chat.idempotency_keys to loquat_viewer;

-- Sign-in, leases, ticks and clean-up. No text of a message: of messages only their state, of
-- chunks only where they stand.
grant select, insert, update on chat.users to loquat_system;
grant select (user_id, id, status) on chat.messages to loquat_system;
grant select, update on chat.replies to loquat_system;
grant select (user_id, message_id, attempt, "offset", length), insert, delete on chat.reply_chunks to loquat_system;
grant select (user_id, deleted_at), delete on chat.idempotency_keys to loquat_system;

-- A server whose login role did not run the migrations reads how far they are.
grant select on chat.migrations to loquat_system;
