//! What asyncpg sends, who asks for the type of each parameter, looks up those that it does not know, and sends values in binary.

use super::Client;
use crate::sql::tests::{hostile::own, world::World};

/// How it looks types up (0.32).
const TYPES: &str = r"WITH RECURSIVE typeinfo_tree( oid, ns, name, kind, basetype, elemtype, elemdelim, range_subtype, attrtypoids, attrnames, depth) AS ( SELECT ti.oid, ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, ti.attrnames, 0 FROM ( SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typebases(oid, depth) AS ( SELECT t2.typbasetype AS oid, 0 AS depth FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT t2.typbasetype AS oid, tb.depth + 1 AS depth FROM pg_type t2, typebases tb WHERE tb.oid = t2.oid AND t2.typbasetype != 0 ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1) ELSE NULL END) AS basetype, t.typelem AS elemtype, elem_t.typdelim AS elemdelim, COALESCE( range_t.rngsubtype, multirange_t.rngsubtype) AS range_subtype, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrtypoids, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.attname::text ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON ( ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON ( t.typlen = -1 AND t.typelem != 0 AND t.typelem = elem_t.oid ) LEFT JOIN pg_range range_t ON ( t.oid = range_t.rngtypid ) LEFT JOIN pg_range multirange_t ON ( t.oid = multirange_t.rngmultitypid ) ) AS ti WHERE ti.oid = any($1::oid[]) UNION ALL SELECT ti.oid, ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, ti.attrnames, tt.depth + 1 FROM ( SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typebases(oid, depth) AS ( SELECT t2.typbasetype AS oid, 0 AS depth FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT t2.typbasetype AS oid, tb.depth + 1 AS depth FROM pg_type t2, typebases tb WHERE tb.oid = t2.oid AND t2.typbasetype != 0 ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1) ELSE NULL END) AS basetype, t.typelem AS elemtype, elem_t.typdelim AS elemdelim, COALESCE( range_t.rngsubtype, multirange_t.rngsubtype) AS range_subtype, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrtypoids, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.attname::text ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON ( ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON ( t.typlen = -1 AND t.typelem != 0 AND t.typelem = elem_t.oid ) LEFT JOIN pg_range range_t ON ( t.oid = range_t.rngtypid ) LEFT JOIN pg_range multirange_t ON ( t.oid = multirange_t.rngmultitypid ) ) ti, typeinfo_tree tt WHERE (tt.elemtype IS NOT NULL AND ti.oid = tt.elemtype) OR (tt.attrtypoids IS NOT NULL AND ti.oid = any(tt.attrtypoids)) OR (tt.range_subtype IS NOT NULL AND ti.oid = tt.range_subtype) OR (tt.basetype IS NOT NULL AND ti.oid = tt.basetype) ) SELECT DISTINCT *, basetype::regtype::text AS basetype_name, elemtype::regtype::text AS elemtype_name, range_subtype::regtype::text AS range_subtype_name FROM typeinfo_tree ORDER BY depth DESC";

/// The same for servers before Postgres 14.
const TYPES_13: &str = r"WITH RECURSIVE typeinfo_tree( oid, ns, name, kind, basetype, elemtype, elemdelim, range_subtype, attrtypoids, attrnames, depth) AS ( SELECT ti.oid, ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, ti.attrnames, 0 FROM ( SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typebases(oid, depth) AS ( SELECT t2.typbasetype AS oid, 0 AS depth FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT t2.typbasetype AS oid, tb.depth + 1 AS depth FROM pg_type t2, typebases tb WHERE tb.oid = t2.oid AND t2.typbasetype != 0 ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1) ELSE NULL END) AS basetype, t.typelem AS elemtype, elem_t.typdelim AS elemdelim, range_t.rngsubtype AS range_subtype, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrtypoids, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.attname::text ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON ( ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON ( t.typlen = -1 AND t.typelem != 0 AND t.typelem = elem_t.oid ) LEFT JOIN pg_range range_t ON ( t.oid = range_t.rngtypid ) ) AS ti WHERE ti.oid = any($1::oid[]) UNION ALL SELECT ti.oid, ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, ti.attrnames, tt.depth + 1 FROM ( SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typebases(oid, depth) AS ( SELECT t2.typbasetype AS oid, 0 AS depth FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT t2.typbasetype AS oid, tb.depth + 1 AS depth FROM pg_type t2, typebases tb WHERE tb.oid = t2.oid AND t2.typbasetype != 0 ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1) ELSE NULL END) AS basetype, t.typelem AS elemtype, elem_t.typdelim AS elemdelim, range_t.rngsubtype AS range_subtype, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrtypoids, (CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(ia.attname::text ORDER BY ia.attnum) FROM pg_attribute ia INNER JOIN pg_class c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped AND c.reltype = t.oid) ELSE NULL END) AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON ( ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON ( t.typlen = -1 AND t.typelem != 0 AND t.typelem = elem_t.oid ) LEFT JOIN pg_range range_t ON ( t.oid = range_t.rngtypid ) ) ti, typeinfo_tree tt WHERE (tt.elemtype IS NOT NULL AND ti.oid = tt.elemtype) OR (tt.attrtypoids IS NOT NULL AND ti.oid = any(tt.attrtypoids)) OR (tt.range_subtype IS NOT NULL AND ti.oid = tt.range_subtype) OR (tt.basetype IS NOT NULL AND ti.oid = tt.basetype) ) SELECT DISTINCT *, basetype::regtype::text AS basetype_name, elemtype::regtype::text AS elemtype_name, range_subtype::regtype::text AS range_subtype_name FROM typeinfo_tree ORDER BY depth DESC";

/// An array in binary of what has this number.
fn array(of: u32, elements: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [1, 0, of, elements.len() as u32, 1].map(u32::to_be_bytes).concat();
    for element in elements {
        bytes.extend((element.len() as u32).to_be_bytes());
        bytes.extend_from_slice(element);
    }
    bytes
}

/// Whether an answer tells that there is one parameter, of this type.
fn tells(said: &[u8], oid: u32) -> bool {
    let told = [&b"t\0\x01"[..], &oid.to_be_bytes()[..]].concat();
    said.windows(told.len()).any(|part| part == told)
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_arrays_are_looked_up() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let asked = array(26, &[&1_016_u32.to_be_bytes(), &1_185_u32.to_be_bytes()]);
    for sql in [TYPES, TYPES_13] {
        let said = client.bound((sql, None), 1, &asked).await;
        let text = String::from_utf8_lossy(&said);
        // An array of `oid`, for which it has a codec.
        assert!(tells(&said, 1_028), "{text:?}");
        for wanted in ["elemtype\0", "basetype_name\0", "_int8", "bigint", "_timestamptz", "SELECT 2\0"] {
            assert!(text.contains(wanted), "{wanted}: {text:?}");
        }
    }
    let others = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n";
    let said = client.simple(others).await;
    assert!(String::from_utf8_lossy(&said).contains("C0A000"), "{said:?}");
}

/// Of what it is compared with, or cast to.
#[tokio::test(flavor = "multi_thread")]
async fn an_array_of_any_type_is_told_and_taken() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let int4 = array(23, &[&200_i32.to_be_bytes(), &7_i32.to_be_bytes()]);
    let int2 = array(21, &[&200_i16.to_be_bytes()]);
    let int8 = array(20, &[&200_i64.to_be_bytes()]);
    let float8 = array(701, &[&200.0_f64.to_be_bytes()]);
    let numeric = array(1_700, &[&[0, 1, 0, 0, 0, 0, 0, 0, 0, 200]]);
    let boolean = array(16, &[&[1], &[0]]);
    let text = array(25, &[b"acme"]);
    // 1 November 2026, in days and in microseconds since 2000.
    let date = array(1_082, &[&9_801_i32.to_be_bytes()]);
    let midnight = 846_806_400_000_000_i64.to_be_bytes();
    let (timestamp, instant) = (array(1_114, &[&midnight]), array(1_184, &[&midnight]));
    for (condition, told, value, wanted) in [
        ("status::bigint = any($1)", 1_016_u32, &int8, "=3"),
        ("status = any($1::int[])", 1_007, &int4, "=3"),
        ("status = ANY(CAST($1 AS integer[]))", 1_007, &int4, "=3"),
        ("status <> ALL($1::smallint[])", 1_005, &int2, "=0"),
        ("NOT status = ANY($1::bigint[])", 1_016, &int8, "=0"),
        ("status = ANY($1::float8[])", 1_022, &float8, "=3"),
        ("status = ANY($1::numeric[])", 1_231, &numeric, "=3"),
        ("(status = 200) = ANY($1)", 1_000, &boolean, "=3"),
        ("tenant = ANY($1::varchar[])", 1_015, &text, "=3"),
        ("time::date = ANY($1::date[])", 1_182, &date, "=3"),
        ("date_trunc('day', time) = ANY($1)", 1_185, &instant, "=3"),
        ("date_trunc('day', time) = ANY($1::timestamptz[])", 1_185, &instant, "=3"),
        ("timestamp '2026-11-01' = ANY($1)", 1_115, &timestamp, "=3"),
        ("($1::int[] IS NULL OR status = ANY($1))", 1_007, &int4, "=3"),
        ("($1::int[] IS NOT NULL AND status <> ALL($1))", 1_007, &int4, "=0"),
        ("status = ANY($1::int[])", 1_007, &text, "C22P02"),
    ] {
        let sql = format!("SELECT concat('=', count(*)) FROM usage WHERE {condition}");
        let said = client.bound((&sql, None), 1, value).await;
        let text = String::from_utf8_lossy(&said);
        assert!(tells(&said, told) && text.contains(wanted), "{condition}: {text:?}");
    }
}

/// When it is described, before anything is sent for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_array_that_is_not_compared_with_is_refused_in_words() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    for asked in ["$1::int[]", "cardinality($1::int[])", "status IN (SELECT unnest(CAST($1 AS int[]))) FROM usage"] {
        client.say(b'P', &[&b"\0SELECT "[..], asked.as_bytes(), b"\0\0\0"].concat()).await;
        client.say(b'D', b"S\0").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains("C0A000") && text.contains("as in a = ANY($1)"), "{asked}: {text:?}");
    }
}

/// What it reflects tables with over SQLAlchemy: constants are parameters, and what no catalog has is asked of catalogs that have no row.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_keys_that_there_are_not_are_looked_up() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let one = 1_i32.to_be_bytes();
    for (asked, told, value) in [
        (
            "idx_sq.indexrelid, idx_sq.ord FROM (SELECT indexrelid, unnest(indkey) AS attnum, generate_subscripts(indkey, $1::INTEGER) AS ord \
             FROM pg_catalog.pg_index WHERE NOT indisprimary) AS idx_sq",
            23_u32,
            &one[..],
        ),
        ("conname, pg_catalog.pg_get_constraintdef(oid, $1::BOOLEAN) FROM pg_catalog.pg_constraint", 16, &[1][..]),
        ("indexrelid FROM pg_index WHERE indkey[$1::int] = 1", 23, &one[..]),
    ] {
        let said = client.bound((&format!("SELECT {asked}"), None), 1, value).await;
        let text = String::from_utf8_lossy(&said);
        assert!(tells(&said, told) && text.contains("SELECT 0\0"), "{asked}: {text:?}");
    }
}
