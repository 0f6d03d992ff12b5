drop table chat.usage;
