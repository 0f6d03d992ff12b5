drop index chat.tombstones_by_deletion, chat.users_by_suspension;
drop table chat.api_keys;
