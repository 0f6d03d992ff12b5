-- Roles belong to the whole PostgreSQL cluster and other databases may use them: none is dropped.
select 1;
