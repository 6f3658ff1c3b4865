//! The statements that BI tools send, as they send them.

use super::Client;
use crate::{
    sql::tests::{hostile::own, world::World},
    table::TableDef,
};

/// What Metabase reads the columns of a schema with.
const METABASE_FIELDS: &str = r#"SELECT "c"."column_name" AS "name", CASE WHEN "c"."udt_schema" IN ('public', 'pg_catalog') THEN FORMAT('%s', "c"."udt_name") ELSE FORMAT('"%s"."%s"', "c"."udt_schema", "c"."udt_name") END AS "database-type", "c"."ordinal_position" - 1 AS "database-position", "c"."table_schema" AS "table-schema", "c"."table_name" AS "table-name", "pk"."column_name" IS NOT NULL AS "pk?", COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST("c"."table_schema" AS TEXT), CAST("c"."table_name" AS TEXT)) AS REGCLASS) AS OID), "c"."ordinal_position") AS "field-comment", (("column_default" IS NULL) OR (LOWER("column_default") = 'null')) AND ("is_nullable" = 'NO') AND NOT ((("column_default" IS NOT NULL) AND ("column_default" LIKE '%nextval(%')) OR ("is_identity" <> 'NO')) AS "database-required" FROM "information_schema"."columns" AS "c" LEFT JOIN (SELECT "tc"."table_schema", "tc"."table_name", "kc"."column_name" FROM "information_schema"."table_constraints" AS "tc" INNER JOIN "information_schema"."key_column_usage" AS "kc" ON ("tc"."constraint_name" = "kc"."constraint_name") AND ("tc"."table_schema" = "kc"."table_schema") AND ("tc"."table_name" = "kc"."table_name") WHERE "tc"."constraint_type" = 'PRIMARY KEY') AS "pk" ON ("c"."table_schema" = "pk"."table_schema") AND ("c"."table_name" = "pk"."table_name") AND ("c"."column_name" = "pk"."column_name") WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND ("c"."table_schema" IN ('public')) ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC"#;

/// What DBeaver reads types with.
const DBEAVER_TYPES: &str = "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')";

/// What Grafana reads the names of tables with.
const GRAFANA_TABLES: &str = "select quote_ident(table_name) as \"table\" from information_schema.tables where quote_ident(table_schema) not in ('information_schema','pg_catalog','_timescaledb_cache') and table_type='BASE TABLE' and quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1)) as i, string_to_array(current_setting('search_path'),',') s)";

pub(super) async fn check(client: &mut Client, sql: &str, wanted: &str) {
    for said in [client.simple(sql).await, client.extended(sql).await] {
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains(wanted), "{wanted} in the answer to {sql}: {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_read_with_what_they_mean() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let usage = TableDef::shown().find(|table| table.name == "usage").unwrap();
    for meaning in usage.columns().map(|column| column.doc).take(3) {
        check(&mut client, METABASE_FIELDS, meaning).await;
    }
    check(&mut client, METABASE_FIELDS, "timestamptz").await;
    check(&mut client, DBEAVER_TYPES, "numeric").await;
    for (sql, wanted) in [
        (
            "SELECT concat('=', format_type(1700 + 0 * oid, 2490372), format_type(0, NULL)) AS t FROM pg_class",
            "=numeric(38,0)-",
        ),
        (
            "SELECT concat('=', format('%s %I %L 100%%', tenant, 'A b', 'it''s')) FROM usage",
            "=acme \"A b\" 'it''s' 100%",
        ),
        (
            "SELECT concat(relname, '!') FROM pg_class WHERE oid = concat('public.', relname)::regclass::oid AND relname = 'usage'",
            "usage!",
        ),
        ("SELECT concat('=', to_regclass(concat(tenant, '.nothing'))::text, '=') FROM usage LIMIT 1", "=="),
        ("SELECT format('%I', NULL)", "NULL is no name"),
        ("SELECT format('%5s', tenant) FROM usage", "no widths"),
    ] {
        check(&mut client, sql, wanted).await;
    }
}

/// What Superset writes wherever a time is filtered, in the zone of the session.
#[tokio::test(flavor = "multi_thread")]
async fn times_are_read_by_patterns() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    for (zone, condition, wanted) in [
        ("UTC", "time >= TO_TIMESTAMP('2026-11-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')", "=3"),
        ("UTC", "time < TO_DATE('2026-11-01', 'YYYY-MM-DD')", "=0"),
        ("Asia/Tokyo", "time >= TO_TIMESTAMP('2026-11-01 09:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')", "=3"),
        ("Asia/Tokyo", "time < TO_TIMESTAMP('2026-11-01 09:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')", "=0"),
        (
            "Asia/Tokyo",
            "time >= TO_DATE('2026-11-01', 'YYYY-MM-DD') AND time < TO_DATE('2026-11-02', 'YYYY-MM-DD')",
            "=3",
        ),
    ] {
        client.simple(&format!("SET TimeZone = '{zone}'")).await;
        check(&mut client, &format!("SELECT concat('=', count(*)) FROM public.usage WHERE {condition}"), wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_those_of_the_search_path() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    check(&mut client, GRAFANA_TABLES, "usage").await;
    for (path, wanted) in [("\"$user\", public", "usage"), ("elsewhere", "SELECT 0\0")] {
        client.simple(&format!("SET search_path = {path}")).await;
        check(&mut client, GRAFANA_TABLES, wanted).await;
    }
}

/// As Superset ends a query; what belongs to another token is not there.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_ended_by_number() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    check(&mut client, "SELECT concat('=', CASE WHEN pg_backend_pid() > 0 THEN 'yes' END)", "=yes").await;
    check(&mut client, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid='0'", "SELECT 0\0").await;
    check(&mut client, "SELECT concat('=', pg_cancel_backend(0))", "C42883").await;
    check(&mut client, "SELECT pg_cancel_backend(0)", "pg_cancel_backend\0").await;
    check(&mut client, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "SELECT 0\0").await;
    // As drivers send it: described, of a number, and bound to one.
    for (format, value) in [(0_i16, &b"5"[..]), (1, &5_i32.to_be_bytes()[..])] {
        let said = client.bound(("SELECT pg_cancel_backend($1)", None), format, value).await;
        // One parameter, an `int4`.
        assert!(said.windows(7).any(|part| part == b"t\0\x01\0\0\0\x17"), "{said:?}");
        assert!(said.ends_with(b"\x01fCSELECT 1\0ZI"), "{said:?}");
    }
    check(&mut client, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'", "C42883").await;
}
