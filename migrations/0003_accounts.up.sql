-- Suspension, deletion and what an admin may see.

alter table chat.users
  -- What the issuer's tokens last said.
  add column is_admin boolean not null default false,
  add column suspended_at timestamptz,
  -- Set when a deletion is acknowledged; the row goes when everything else of the user has gone.
  add column deleted_at timestamptz,
  -- The same person was deleted here before, at this time: older tokens are refused for ever.
  add column tokens_valid_from timestamptz,
  alter column issuer drop not null,
  alter column external_id drop not null,
  -- A deleted user has no name left, and so frees it for a new user.
  add constraint users_named_until_deleted check (
    case when deleted_at is null then issuer is not null and external_id is not null
    else issuer is null and external_id is null and email is null and display_name is null end);
-- The list that admins see, and the deletions that are to be finished.
create index users_by_creation on chat.users (created_at, user_id) where deleted_at is null;
create index users_by_deletion on chat.users (deleted_at) where deleted_at is not null;

-- Secrets that are the database's own, so that every process has the same ones.
create table chat.server_keys (
  name text primary key,
  key bytea not null check (octet_length(key) = 32)
);
-- 366 random bits, condensed.
insert into chat.server_keys (name, key) values ('tombstones', sha256(
  uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- Whom this server has deleted, as a keyed hash: it tells a live token from before the deletion,
-- and says of nobody that they were here.
create table chat.tombstones (
  user_id uuid primary key,
  subject_hash bytea not null check (octet_length(subject_hash) = 32),
  deleted_at timestamptz not null
);
create index tombstones_by_subject on chat.tombstones (subject_hash, deleted_at);

alter table chat.server_keys enable row level security;
alter table chat.server_keys force row level security;
alter table chat.tombstones enable row level security;
alter table chat.tombstones force row level security;

create policy system on chat.server_keys for select to loquat_system using (true);
create policy system on chat.tombstones to loquat_system using (true) with check (true);
create policy only_deleted on chat.users as restrictive for delete to loquat_system
  using (deleted_at is not null);
create policy admin on chat.users for select to loquat_admin using (deleted_at is null);
-- Nobody suspends themselves.
create policy admin_others on chat.users for update to loquat_admin
  using (deleted_at is null and user_id <> (select chat.viewer_id()))
  with check (deleted_at is null and user_id <> (select chat.viewer_id()));
-- A viewer's transaction clears idempotency keys away only where the viewer is being deleted: else
-- they go a day after what they made.
create policy only_deleted on chat.idempotency_keys as restrictive for delete to loquat_viewer
  using (exists (select from chat.users u
    where u.user_id = (select chat.viewer_id()) and u.deleted_at is not null));

grant select on chat.server_keys to loquat_system;
grant select, insert on chat.tombstones to loquat_system;
grant delete on chat.users to loquat_system;
grant delete on chat.idempotency_keys to loquat_viewer;
grant select (user_id, issuer, external_id, email, display_name, created_at, last_active_at, is_admin, suspended_at, deleted_at),
  update (suspended_at) on chat.users to loquat_admin;
