drop table chat.audit_log;
drop function chat.retain_audit_log(timestamptz, uuid, uuid);
drop function chat.keep_audit_log();
drop function chat.call_stack();
