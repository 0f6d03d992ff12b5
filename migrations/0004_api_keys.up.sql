-- Credentials that users make for their programs.

create table chat.api_keys (
  user_id uuid not null references chat.users on delete cascade,
  id uuid not null,
  name text not null,
  -- The beginning of the key: shown, and by what it is found.
  prefix text not null unique,
  -- SHA-256 of the key. It holds 256 random bits, so nothing slower is needed.
  secret_hash bytea not null check (octet_length(secret_hash) = 32),
  scopes text[] not null check (
    cardinality(scopes) > 0 and scopes <@ array['READ', 'WRITE', 'ADMIN']
    and ('READ' = any (scopes) or not 'WRITE' = any (scopes))),
  -- Whose policies the key obeys: sub, role and iss of the token that made it.
  claims jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  primary key (user_id, id)
);
-- What every process asks once a second: what was revoked, suspended or deleted just now.
create index api_keys_by_revocation on chat.api_keys (revoked_at) where revoked_at is not null;
create index users_by_suspension on chat.users (suspended_at) where suspended_at is not null;
create index tombstones_by_deletion on chat.tombstones (deleted_at);

alter table chat.api_keys enable row level security;
alter table chat.api_keys force row level security;

create policy viewer on chat.api_keys to loquat_viewer
  using (user_id = (select chat.viewer_id())) with check (user_id = (select chat.viewer_id()));
create policy system on chat.api_keys to loquat_system using (true) with check (true);

-- Users never read a hash, and change nothing of a key but that it is revoked.
grant select (user_id, id, name, prefix, scopes, created_at, last_used_at, expires_at, revoked_at),
  insert (user_id, id, name, prefix, secret_hash, scopes, claims, expires_at),
  update (revoked_at) on chat.api_keys to loquat_viewer;
grant select (user_id, id, prefix, secret_hash, scopes, claims, last_used_at, expires_at, revoked_at),
  update (last_used_at) on chat.api_keys to loquat_system;
