//! The three floors, and how each is taken away without touching the product.

use super::stage::Stage;
use crate::support::sql;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// The SQL names the owner. Taken out of every statement on its way to PostgreSQL.
    Sql,
    /// Keys begin with the owner and references carry it.
    Keys,
    /// Row level security.
    Policies,
}

impl Stage {
    pub async fn remove(&self, floor: Floor) {
        match floor {
            Floor::Sql => match &self.blindfold {
                Some(blindfold) => blindfold.put_on(),
                None => panic!("the stage was not set for it"),
            },
            Floor::Keys => sql(&self.test, WITHOUT_KEYS).await,
            Floor::Policies => sql(&self.test, WITHOUT_POLICIES).await,
        }
    }
}

/// Every reference goes. A key of owner and id becomes one of the id alone; those of other shapes
/// are the one of each user's own namespace, such as idempotency keys, and refer to nothing.
const WITHOUT_KEYS: &str = "
do $$
declare
  key record;
begin
  for key in
    select conname, conrelid::regclass as of from pg_constraint
    where contype = 'f' and connamespace = 'chat'::regnamespace
  loop
    execute format('alter table %s drop constraint %I', key.of, key.conname);
  end loop;
  for key in
    select c.conname, c.conrelid::regclass as of, a.attname as id
    from pg_constraint c
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[2]
    where c.contype = 'p' and c.connamespace = 'chat'::regnamespace
      and cardinality(c.conkey) = 2 and a.atttypid = 'uuid'::regtype
      and (select attname from pg_attribute
           where attrelid = c.conrelid and attnum = c.conkey[1]) = 'user_id'
  loop
    execute format('alter table %s drop constraint %I, add primary key (%I)', key.of, key.conname, key.id);
  end loop;
end
$$";

const WITHOUT_POLICIES: &str = "
do $$
declare
  name text;
begin
  for name in select tablename from pg_tables where schemaname = 'chat' and rowsecurity loop
    execute format('alter table chat.%I disable row level security', name);
  end loop;
end
$$";
