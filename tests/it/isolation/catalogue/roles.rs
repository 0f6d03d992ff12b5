//! The two roles that see across users.

use super::Town;

/// The texts that the two roles may read which see across users: what a user is called, what
/// happened and how far it is, and nothing that anybody wrote.
const READABLE: &[(&str, &[&str])] = &[
    (
        "loquat_system",
        &[
            "api_keys.claims",
            "api_keys.prefix",
            "audit_log.action",
            "audit_log.credential",
            "audit_log.outcome",
            "audit_log.target_type",
            "messages.status",
            "replies.claims",
            "server_keys.name",
            "users.display_name",
            "users.email",
            "users.external_id",
            "users.issuer",
        ],
    ),
    (
        "loquat_admin",
        &[
            "audit_log.action",
            "audit_log.credential",
            "audit_log.outcome",
            "audit_log.target_type",
            "usage.kind",
            "users.display_name",
            "users.email",
            "users.external_id",
            "users.issuer",
        ],
    ),
];

#[tokio::test]
async fn whoever_sees_across_users_reads_nothing_that_they_wrote() {
    let mut town = Town::peopled().await;
    for (role, readable) in READABLE {
        let found: Vec<String> = sqlx::query_scalar(
            "select c.relname || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid \
             where c.relnamespace = 'chat'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> 'migrations' \
               and a.attnum > 0 and not a.attisdropped and a.atttypid in ('text'::regtype, 'jsonb'::regtype, 'json'::regtype, 'varchar'::regtype) \
               and has_column_privilege($1, c.oid, a.attnum, 'select') order by 1",
        )
        .bind(role)
        .fetch_all(&mut town.connection)
        .await
        .expect("the catalogue");
        assert_eq!(found, *readable, "{role}");
    }
    // An admin cannot even count what others have, nor change it.
    let touched: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'chat'::regnamespace and relkind in ('r', 'p', 'v', 'm') \
           and (has_table_privilege('loquat_admin', oid, 'select, insert, update, delete, truncate, references, trigger') \
             or has_any_column_privilege('loquat_admin', oid, 'select, insert, update, references')) order by 1",
    )
    .fetch_all(&mut town.connection)
    .await
    .expect("the catalogue");
    assert_eq!(touched, ADMINS_TABLES);
}

/// What an admin is for.
const ADMINS_TABLES: &[&str] = &["audit_log", "usage", "users"];
