//! Policies of the database's owner, written with Supabase's `auth.uid()`, `auth.role()` and
//! `auth.jwt()`, hold against every transaction of a viewer: those of requests, and those in which
//! the server writes a reply long after the request.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    callers::ReadKey,
    stage::{Credential, Stage},
};
use crate::support::{Replica, TestDatabase, eventually, sql, text, token};

/// As Supabase defines them.
const AUTH: &str = "
create schema auth;
grant usage on schema auth to public;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
create function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
  )::text
$$;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;";

/// A table of the database's owner, and what it lets in.
struct Rule {
    table: &'static str,
    condition: &'static str,
}

const MEMBERS: Rule = Rule {
    table: "create table public.members (id uuid primary key)",
    condition: "auth.uid() in (select id from public.members) and auth.role() = 'authenticated' \
        and auth.jwt() ->> 'iss' = 'https://project.supabase.co/auth/v1'",
};

const SUBJECTS: Rule = Rule {
    table: "create table public.members (id text primary key)",
    condition: "auth.jwt() ->> 'sub' in (select id from public.members) \
        and auth.role() = auth.jwt() ->> 'sub' and auth.jwt() ->> 'iss' = auth.role()",
};

impl Rule {
    /// Puts it before every table that a viewer's transaction can write to.
    async fn hold(&self, test: &TestDatabase) {
        let Self { table, condition } = self;
        sql(
            test,
            &format!("{AUTH} {table}; grant select on public.members to loquat_viewer"),
        )
        .await;
        // One table a transaction: whoever locks several beside a server at work may meet it.
        let policies = format!(
            "do $do$ declare name text; begin \
               for name in select relname from pg_class \
                 where relnamespace = 'chat'::regnamespace and relkind = 'r' \
                   and has_any_column_privilege('loquat_viewer', oid, 'insert') loop \
                 execute format('create policy members on chat.%I as restrictive to loquat_viewer \
                   using ({condition}) with check ({condition})', name); \
                 commit; \
               end loop; \
             end $do$",
            condition = condition.replace('\'', "''"),
        );
        sql(test, &policies).await;
    }
}

fn signed_in(user: &str, role: &str, issuer: &str) -> Credential {
    Credential::Bearer(token(user, json!({ "role": role, "iss": issuer })))
}

fn supabase_user(id: Uuid) -> Credential {
    signed_in(
        &id.to_string(),
        "authenticated",
        "https://project.supabase.co/auth/v1",
    )
}

/// Lets a user in.
async fn admit(connection: &mut PgConnection, id: &str) {
    sqlx::query("insert into public.members select (jsonb_populate_record(null::public.members, jsonb_build_object('id', $1::text))).id")
        .bind(id)
        .execute(connection)
        .await
        .expect("a member");
}

const START: &str = "mutation($message: String) { startChat(input: { title: \"mine\", message: $message }) \
    { conversation { id } reply { id } } }";

/// Starts a chat with a message in it; the reply's id.
async fn start(stage: &Stage, who: &Credential) -> String {
    let started = stage.data(who, START, json!({ "message": "hello" })).await;
    text(&started["startChat"]["reply"]["id"])
}

async fn titles(stage: &Stage, who: &Credential) -> Value {
    let found = stage
        .data(
            who,
            "{ viewer { conversations { nodes { title } } } }",
            json!({}),
        )
        .await;
    found["viewer"]["conversations"]["nodes"].clone()
}

#[tokio::test]
async fn policies_with_supabases_functions_hold_in_requests() {
    let stage = Stage::set(&[]).await;
    let mut connection = stage.test.superuser().await;
    let (member, other) = (Uuid::now_v7(), Uuid::now_v7());
    // From before there was a policy.
    start(&stage, &supabase_user(other)).await;
    MEMBERS.hold(&stage.test).await;
    admit(&mut connection, &member.to_string()).await;

    let reply = start(&stage, &supabase_user(member)).await;
    assert_eq!(
        titles(&stage, &supabase_user(member)).await,
        json!([{ "title": "mine" }])
    );
    stage.replica.desk.next().await.say("never heard");
    let writing = stage.replica.desk.next().await;
    writing.say("written in a transaction of the member's");
    writing.finish();
    stage.finished(&supabase_user(member), &reply).await;

    // A program of the member's comes without any token: its key has kept the claims.
    let key = ReadKey::of(&supabase_user(member), "a program", &stage).await;
    assert_eq!(
        titles(&stage, &key.credential).await,
        json!([{ "title": "mine" }])
    );

    // Another sub, another role, another issuer.
    let member = member.to_string();
    for refused in [
        supabase_user(other),
        signed_in(&member, "anon", "https://project.supabase.co/auth/v1"),
        signed_in(
            &member,
            "authenticated",
            "https://other.supabase.co/auth/v1",
        ),
    ] {
        assert_eq!(titles(&stage, &refused).await, json!([]));
        let answer = stage.ask(&refused, START, &json!({})).await;
        assert_eq!(answer.codes(), ["INTERNAL_SERVER_ERROR"], "{answer:?}");
        assert!(!answer.body.contains("polic"), "{answer:?}");
    }
    let conversations: i64 = sqlx::query_scalar("select count(*) from chat.conversations")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(conversations, 2);
    sqlx::raw_sql("delete from public.members")
        .execute(&mut connection)
        .await
        .expect("nobody is left");
    assert_eq!(titles(&stage, &key.credential).await, json!([]));
}

/// Nobody's request is there any more when a reply ends; its run has kept the claims.
#[tokio::test]
async fn policies_with_supabases_functions_hold_where_a_run_is_taken_over() {
    let stage = Stage::set(&[]).await;
    let mut connection = stage.test.superuser().await;
    MEMBERS.hold(&stage.test).await;
    let (staying, leaving) = (Uuid::now_v7(), Uuid::now_v7());
    let mut writing = Vec::new();
    for user in [staying, leaving] {
        admit(&mut connection, &user.to_string()).await;
        start(&stage, &supabase_user(user)).await;
        let reply = stage.replica.desk.next().await;
        reply.say("so far");
        writing.push(reply);
    }
    eventually("both replies are written down", || async {
        let mut connection = stage.test.superuser().await;
        let written: i64 =
            sqlx::query_scalar("select count(distinct user_id) from chat.reply_chunks")
                .fetch_one(&mut connection)
                .await
                .expect("a count");
        (written == 2).then_some(())
    })
    .await;
    let left = format!("delete from public.members where id = '{leaving}'");
    sqlx::raw_sql(AssertSqlSafe(left))
        .execute(&mut connection)
        .await
        .expect("one less");
    // Their process forgets both, as after a crash, and the third in a row.
    sqlx::raw_sql(
        "update chat.replies set process_id = gen_random_uuid(), fence = fence + 1, lease_expires_at = now(), \
           losses = 2",
    )
    .execute(&mut connection)
    .await
    .expect("an update");
    let survivor = Replica::start(&stage.test).await;
    let status = "select m.status || coalesce(' ' || m.content, '') from chat.messages m join chat.users u using (user_id) \
        where u.external_id = $1 and m.role = 'ASSISTANT'";
    let status_of = async |user: Uuid| {
        let mut connection = stage.test.superuser().await;
        let status: String = sqlx::query_scalar(status)
            .bind(user.to_string())
            .fetch_one(&mut connection)
            .await
            .expect("a reply");
        status
    };
    eventually("the one who stayed has the text", || async {
        (status_of(staying).await == "FAILED so far").then_some(())
    })
    .await;
    // The other's ends too, though the policies let nobody write in their name.
    eventually("the other's reply is not taken up for ever", || async {
        (status_of(leaving).await == "FAILED so far").then_some(())
    })
    .await;
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from chat.replies) + (select count(*) from chat.reply_chunks)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("a count");
    assert_eq!(left, 0);
    drop(survivor);
}

#[tokio::test]
async fn hostile_claims_are_data_to_the_policies_too() {
    let stage = Stage::set(&[]).await;
    let mut connection = stage.test.superuser().await;
    SUBJECTS.hold(&stage.test).await;
    for hostile in [
        "'; drop schema chat cascade; --",
        "\\'; reset role; select set_config('loquat.user_id', null, false); --",
        "$$; commit; $$; rollback;",
        "', true), set_config('role', 'postgres",
        "\", \"sub\": \"somebody else\", \"role\": \"service_role",
        "{\"sub\": \"somebody else\"}",
        "\\u0027 or 1=1 \\x27 E'\\\\'",
        "\u{1F34A}\u{202E}\u{2028}\u{FEFF}\u{E000}\n\r\t\u{1}\u{7F}",
        "%s %I %L $1 :sub ?",
    ] {
        let user = signed_in(hostile, hostile, hostile);
        let refused = stage.ask(&user, START, &json!({})).await;
        assert_eq!(
            refused.codes(),
            ["INTERNAL_SERVER_ERROR"],
            "{hostile:?} before it is let in"
        );
        admit(&mut connection, hostile).await;
        stage.data(&user, START, json!({})).await;
        assert_eq!(
            titles(&stage, &user).await,
            json!([{ "title": "mine" }]),
            "{hostile:?}"
        );
    }
    let (users, conversations): (i64, i64) = sqlx::query_as(
        "select (select count(*) from chat.users), (select count(*) from chat.conversations)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the schema still stands");
    assert_eq!((users, conversations), (9, 9));
}
