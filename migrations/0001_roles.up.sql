-- The three roles that every transaction of the server takes on. Roles belong to the whole
-- PostgreSQL cluster: other databases may be creating and granting the same ones at this moment,
-- so every step tolerates that somebody else was faster.
do $$
declare
  role_name text;
  tries int;
begin
  foreach role_name in array array['loquat_viewer', 'loquat_system', 'loquat_admin'] loop
    tries := 0;
    while not exists (select from pg_catalog.pg_roles where rolname = role_name) loop
      begin
        execute format('create role %I nologin', role_name);
      exception
        when duplicate_object or unique_violation then null;
        when internal_error then -- «tuple concurrently updated»
          tries := tries + 1;
          if tries > 50 then raise; end if;
      end;
    end loop;
    tries := 0;
    while not pg_catalog.pg_has_role(
      current_user, role_name,
      case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end
    ) loop
      begin
        execute format('grant %I to current_user', role_name);
      exception
        when unique_violation then null;
        when internal_error then
          tries := tries + 1;
          if tries > 50 then raise; end if;
      end;
    end loop;
  end loop;
end
$$;
