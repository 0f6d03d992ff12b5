-- Only the active path survives: a schema without versions has no place for the others. Runs that
-- wait get a lease that has run out. The owner of the tables obeys their policies like everybody else,
-- and none is for this.
alter table chat.messages no force row level security;
alter table chat.replies no force row level security;
alter table chat.server_keys no force row level security;
alter table chat.usage no force row level security;

revoke delete on chat.replies from loquat_system;
revoke update (content, status, error_code, error_message, revision, completed_at) on chat.messages from loquat_system;

delete from chat.server_keys where name = 'broker';

revoke select (user_id, id, revision), update (revision, list_revision, updated_at)
  on chat.conversations from loquat_system;
drop policy system on chat.conversations;
drop table chat.list_revisions, chat.deleted_conversations;

drop index chat.replies_waiting, chat.replies_to_stop, chat.replies_by_process;
update chat.replies set process_id = gen_random_uuid(), lease_expires_at = clock_timestamp()
  where process_id is null;
alter table chat.replies
  drop constraint replies_held_under_lease,
  alter column process_id set not null,
  alter column lease_expires_at set not null,
  drop column position,
  drop column losses,
  drop column stop_requested_at;

delete from chat.usage where kind <> 'REPLY';
alter table chat.usage drop column kind;
create index usage_of_user on chat.usage (user_id, occurred_at)
  include (prompt_tokens, completion_tokens, total_tokens);
create index usage_by_time on chat.usage (occurred_at)
  include (prompt_tokens, completion_tokens, total_tokens);

delete from chat.messages where not active;
drop index chat.messages_by_parent, chat.messages_preferred, chat.messages_by_revision;
alter table chat.messages
  drop column revision,
  drop column version_number,
  drop column preferred,
  drop column rating,
  drop column feedback_comment;
create index messages_by_parent on chat.messages (user_id, conversation_id, parent_id);

drop index chat.conversations_by_list_revision;
alter table chat.conversations
  drop column path_revision,
  drop column path_length,
  drop column list_revision,
  drop column added_revision,
  drop column title_settled;

alter table chat.messages force row level security;
alter table chat.replies force row level security;
alter table chat.server_keys force row level security;
alter table chat.usage force row level security;
