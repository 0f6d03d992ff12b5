drop table chat.idempotency_keys;
drop table chat.reply_chunks;
drop table chat.replies;
drop table chat.messages;
drop table chat.conversations;
drop table chat.users;
drop function chat.viewer_id();
revoke usage on schema chat from loquat_viewer, loquat_system, loquat_admin;
