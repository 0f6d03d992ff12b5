-- Whose deletion is not finished has no name to go back to; their rows go with them. The owner of
-- the table obeys its policies like everybody else, and none is for them.
alter table chat.users no force row level security;
delete from chat.users where deleted_at is not null;
alter table chat.users force row level security;

revoke delete on chat.idempotency_keys from loquat_viewer;
drop policy only_deleted on chat.idempotency_keys;
revoke all on chat.users from loquat_admin;
revoke delete on chat.users from loquat_system;
drop policy admin_others on chat.users;
drop policy admin on chat.users;
drop policy only_deleted on chat.users;
drop table chat.tombstones, chat.server_keys;
drop index chat.users_by_deletion, chat.users_by_creation;
alter table chat.users
  drop constraint users_named_until_deleted,
  alter column external_id set not null,
  alter column issuer set not null,
  drop column tokens_valid_from,
  drop column deleted_at,
  drop column suspended_at,
  drop column is_admin;
