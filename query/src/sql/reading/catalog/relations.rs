//! The catalogs: which there are, with which columns, and the rows of those that have any.

use arrow::datatypes::DataType;

use super::{Cell, DATABASE, KEYWORDS, MadeOf, Row, SCHEMA, Shown, known};
use crate::sql::reading::types;

/// The numbers of the schemas, of the owner of everything, of the database, and of where it lies.
const PG_CATALOG: i32 = 11;
const PUBLIC: i32 = 2_200;
const INFORMATION_SCHEMA: i32 = 13_000;
const OWNER: i32 = 10;
const DATABASE_OID: i32 = 16_383;
const TABLESPACE: i32 = 1_663;

/// The catalogs of `pg_catalog` that have rows.
pub(super) const HAS_ROWS: &[&str] = &[
    "pg_namespace",
    "pg_class",
    "pg_attribute",
    "pg_type",
    "pg_description",
    "pg_database",
    "pg_tablespace",
    "pg_roles",
    "pg_user",
    "pg_settings",
    "pg_tables",
    "pg_views",
    "pg_am",
    KEYWORDS,
];

/// The words of this SQL that the standard of 2003 has not, which is what drivers ask for.
const WORDS: &[&str] = &[
    "analyse",
    "analyze",
    "explain",
    "ilike",
    "index",
    "isnull",
    "limit",
    "notnull",
    "offset",
    "qualify",
    "returning",
    "show",
    "verbose",
];

/// What everybody may do with a relation, as Postgres writes it: read it.
const READABLE: &str = "{=r/tollgate}";

/// By schema and name, the columns of each.
pub(super) const RELATIONS: &[(&str, &str, &str)] = &[
    ("pg_catalog", "pg_namespace", "oid:i nspname:t nspowner:i nspacl:t"),
    (
        "pg_catalog",
        "pg_class",
        "oid:i relname:t relnamespace:i reltype:i reloftype:i relowner:i relam:i relfilenode:i reltablespace:i relpages:i \
         reltuples:i relallvisible:i reltoastrelid:i relhasindex:b relisshared:b relpersistence:t relkind:t relnatts:s \
         relchecks:s relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b relforcerowsecurity:b \
         relispopulated:b relreplident:t relispartition:b relrewrite:i relfrozenxid:i relminmxid:i relacl:t reloptions:t \
         relpartbound:t relhasoids:b xmin:i",
    ),
    (
        "pg_catalog",
        "pg_attribute",
        "attrelid:i attname:t atttypid:i attstattarget:i attlen:s attnum:s attndims:i attcacheoff:i atttypmod:i \
         attbyval:b attalign:t attstorage:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b attidentity:t \
         attgenerated:t attisdropped:b attislocal:b attinhcount:i attcollation:i attacl:t attoptions:t attfdwoptions:t",
    ),
    (
        "pg_catalog",
        "pg_type",
        "oid:i typname:t typnamespace:i typowner:i typlen:s typbyval:b typtype:t typcategory:t typispreferred:b \
         typisdefined:b typdelim:t typrelid:i typsubscript:t typelem:i typarray:i typinput:t typoutput:t typreceive:t \
         typsend:t typnotnull:b typbasetype:i typtypmod:i typndims:i typcollation:i typdefault:t typacl:t",
    ),
    ("pg_catalog", "pg_description", "objoid:i classoid:i objsubid:i description:t"),
    ("pg_catalog", "pg_shdescription", "objoid:i classoid:i description:t"),
    (
        "pg_catalog",
        "pg_database",
        "oid:i datname:t datdba:i encoding:i datcollate:t datctype:t datistemplate:b datallowconn:b datconnlimit:i \
         datlastsysoid:i dattablespace:i datacl:t",
    ),
    (
        "pg_catalog",
        "pg_roles",
        "oid:i rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b \
         rolconnlimit:i rolpassword:t rolvaliduntil:t rolbypassrls:b rolconfig:t",
    ),
    ("pg_catalog", "pg_user", "usename:t usesysid:i usecreatedb:b usesuper:b userepl:b usebypassrls:b passwd:t"),
    ("pg_catalog", "pg_auth_members", "roleid:i member:i grantor:i admin_option:b"),
    ("pg_catalog", "pg_settings", "name:t setting:t unit:t category:t short_desc:t context:t vartype:t source:t"),
    (
        "pg_catalog",
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b hastriggers:b rowsecurity:b",
    ),
    ("pg_catalog", "pg_am", "oid:i amname:t amhandler:t amtype:t"),
    (
        "pg_catalog",
        "pg_opclass",
        "oid:i opcmethod:i opcname:t opcnamespace:i opcowner:i opcfamily:i opcintype:i opcdefault:b opckeytype:i",
    ),
    ("pg_catalog", "pg_attrdef", "oid:i adrelid:i adnum:s adbin:t"),
    (
        "pg_catalog",
        "pg_index",
        "indexrelid:i indrelid:i indnatts:s indnkeyatts:s indisunique:b indisprimary:b indisexclusion:b indimmediate:b \
         indisclustered:b indisvalid:b indcheckxmin:b indisready:b indislive:b indisreplident:b indnullsnotdistinct:b \
         indkey:t indcollation:t indclass:t indoption:t indexprs:t indpred:t",
    ),
    (
        "pg_catalog",
        "pg_constraint",
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b convalidated:b conrelid:i contypid:i \
         conindid:i conparentid:i confrelid:i confupdtype:t confdeltype:t confmatchtype:t conislocal:b coninhcount:i \
         connoinherit:b conkey:t confkey:t conbin:t",
    ),
    ("pg_catalog", "pg_inherits", "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    ("pg_catalog", "pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
    (
        "pg_catalog",
        "pg_matviews",
        "schemaname:t matviewname:t matviewowner:t tablespace:t hasindexes:b ispopulated:b definition:t",
    ),
    (
        "pg_catalog",
        "pg_proc",
        "oid:i proname:t pronamespace:i proowner:i prolang:i prokind:t prosecdef:b proretset:b provolatile:t pronargs:s \
         prorettype:i proargtypes:t proallargtypes:t proargmodes:t proargnames:t prosrc:t proacl:t",
    ),
    ("pg_catalog", "pg_language", "oid:i lanname:t lanowner:i lanispl:b lanpltrusted:b"),
    ("pg_catalog", "pg_enum", "oid:i enumtypid:i enumsortorder:i enumlabel:t"),
    ("pg_catalog", "pg_range", "rngtypid:i rngsubtype:i rngmultitypid:i rngcollation:i"),
    ("pg_catalog", "pg_collation", "oid:i collname:t collnamespace:i collowner:i collprovider:t collisdeterministic:b"),
    ("pg_catalog", "pg_extension", "oid:i extname:t extowner:i extnamespace:i extrelocatable:b extversion:t"),
    (
        "pg_catalog",
        "pg_sequence",
        "seqrelid:i seqtypid:i seqstart:i seqincrement:i seqmax:i seqmin:i seqcache:i seqcycle:b",
    ),
    ("pg_catalog", "pg_trigger", "oid:i tgrelid:i tgname:t tgfoid:i tgtype:s tgenabled:t tgisinternal:b tgparentid:i"),
    (
        "pg_catalog",
        "pg_policy",
        "oid:i polname:t polrelid:i polcmd:t polpermissive:b polroles:t polqual:t polwithcheck:t",
    ),
    ("pg_catalog", "pg_rewrite", "oid:i rulename:t ev_class:i ev_type:t ev_enabled:t is_instead:b"),
    ("pg_catalog", "pg_depend", "classid:i objid:i objsubid:i refclassid:i refobjid:i refobjsubid:i deptype:t"),
    ("pg_catalog", "pg_tablespace", "oid:i spcname:t spcowner:i spcacl:t spcoptions:t"),
    ("pg_catalog", "pg_publication", "oid:i pubname:t pubowner:i puballtables:b pubinsert:b pubupdate:b pubdelete:b"),
    ("pg_catalog", "pg_publication_rel", "oid:i prpubid:i prrelid:i prqual:t prattrs:t"),
    ("pg_catalog", "pg_statistic_ext", "oid:i stxrelid:i stxname:t stxnamespace:i stxkind:t stxstattarget:i"),
    ("pg_catalog", "pg_foreign_table", "ftrelid:i ftserver:i ftoptions:t"),
    ("pg_catalog", "pg_foreign_server", "oid:i srvname:t srvowner:i srvfdw:i srvtype:t srvversion:t srvoptions:t"),
    ("pg_catalog", "pg_event_trigger", "oid:i evtname:t evtevent:t evtowner:i evtfoid:i evtenabled:t"),
    ("pg_catalog", "pg_stat_activity", "datid:i datname:t pid:i usename:t application_name:t state:t query:t"),
    ("pg_catalog", KEYWORDS, "word:t catcode:t barelabel:b catdesc:t baredesc:t"),
    ("pg_catalog", "pg_locks", "locktype:t database:i relation:i pid:i mode:t granted:b"),
    ("pg_catalog", "pg_stat_user_tables", "relid:i schemaname:t relname:t n_live_tup:i n_dead_tup:i"),
    ("information_schema", "schemata", "catalog_name:t schema_name:t schema_owner:t"),
    (
        "information_schema",
        "tables",
        "table_catalog:t table_schema:t table_name:t table_type:t self_referencing_column_name:t reference_generation:t \
         is_insertable_into:t is_typed:t commit_action:t",
    ),
    (
        "information_schema",
        "columns",
        "table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i column_default:t is_nullable:t \
         data_type:t character_maximum_length:i character_octet_length:i numeric_precision:i numeric_precision_radix:i \
         numeric_scale:i datetime_precision:i collation_name:t domain_name:t udt_catalog:t udt_schema:t udt_name:t \
         is_identity:t is_generated:t is_updatable:t",
    ),
    ("information_schema", "views", "table_catalog:t table_schema:t table_name:t view_definition:t"),
    (
        "information_schema",
        "table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t \
         constraint_type:t is_deferrable:t initially_deferred:t",
    ),
    (
        "information_schema",
        "key_column_usage",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t \
         column_name:t ordinal_position:i position_in_unique_constraint:i",
    ),
    (
        "information_schema",
        "referential_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t unique_constraint_schema:t unique_constraint_name:t \
         match_option:t update_rule:t delete_rule:t",
    ),
    (
        "information_schema",
        "constraint_column_usage",
        "table_catalog:t table_schema:t table_name:t column_name:t constraint_schema:t constraint_name:t",
    ),
    ("information_schema", "routines", "specific_name:t routine_schema:t routine_name:t routine_type:t data_type:t"),
    (
        "information_schema",
        "table_privileges",
        "grantor:t grantee:t table_catalog:t table_schema:t table_name:t privilege_type:t is_grantable:t",
    ),
];

/// The rows of a catalog.
pub(super) fn rows(schema: &str, name: &str, of: &MadeOf) -> Vec<Row> {
    let tables = || of.tables.iter().filter_map(|table| Some((known::number_of(table.name)?, table)));
    let views = || of.tables.iter().filter(|table| table.is_view);
    match (schema, name) {
        (_, "pg_namespace") => {
            [(PG_CATALOG, "pg_catalog"), (PUBLIC, SCHEMA), (INFORMATION_SCHEMA, "information_schema")]
                .map(|(oid, name)| vec![("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER.into())])
                .to_vec()
        }
        (_, "pg_class") => tables().map(|(oid, table)| relation(oid, table)).collect(),
        (_, "pg_attribute") => tables().flat_map(|(oid, table)| attributes(oid, table)).collect(),
        (_, "pg_type") => types::TYPES.iter().flat_map(|kind| [of_one(kind), of_many(kind)]).collect(),
        (_, "pg_description") => tables().flat_map(|(oid, table)| descriptions(oid, table)).collect(),
        (_, "pg_database") => vec![database()],
        (_, "pg_tablespace") => {
            vec![vec![("oid", TABLESPACE.into()), ("spcname", "pg_default".into()), ("spcowner", OWNER.into())]]
        }
        (_, "pg_roles") => vec![vec![
            ("oid", OWNER.into()),
            ("rolname", (&*of.user).into()),
            ("rolinherit", true.into()),
            ("rolcanlogin", true.into()),
            ("rolconnlimit", (-1).into()),
        ]],
        (_, "pg_user") => vec![vec![("usename", (&*of.user).into()), ("usesysid", OWNER.into())]],
        (_, "pg_settings") => {
            let setting = |(name, value): (&&'static str, &String)| {
                vec![("name", (*name).into()), ("setting", value.as_str().into()), ("context", "user".into())]
            };
            of.settings.iter().map(setting).collect()
        }
        (_, "pg_tables") => {
            let own = |table| owned("tablename", "tableowner", table);
            of.tables.iter().filter(|table| !table.is_view).map(own).collect()
        }
        (_, "pg_views") => {
            let defined =
                |view| [owned("viewname", "viewowner", view), vec![("definition", definition(view))]].concat();
            views().map(defined).collect()
        }
        (_, "pg_am") => vec![vec![("oid", 2.into()), ("amname", "heap".into()), ("amtype", "t".into())]],
        (_, KEYWORDS) => WORDS.iter().map(|word| vec![("word", (*word).into()), ("catcode", "U".into())]).collect(),
        (_, "schemata") => [SCHEMA, "pg_catalog", "information_schema"]
            .map(|name| vec![("catalog_name", DATABASE.into()), ("schema_name", name.into())])
            .to_vec(),
        ("information_schema", "tables") => tables()
            .map(|(_, table)| {
                let kind = if table.is_view { "VIEW" } else { "BASE TABLE" };
                [of_table(table), vec![("table_type", kind.into()), ("is_insertable_into", "NO".into())]].concat()
            })
            .collect(),
        ("information_schema", "views") => {
            views().map(|view| [of_table(view), vec![("view_definition", definition(view))]].concat()).collect()
        }
        (_, "columns") => tables().flat_map(|(_, table)| columns(table)).collect(),
        (_, "table_privileges") => tables()
            .map(|(_, table)| {
                [of_table(table), vec![("grantee", (&*of.user).into()), ("privilege_type", "SELECT".into())]].concat()
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn database() -> Row {
    vec![
        ("oid", DATABASE_OID.into()),
        ("datname", DATABASE.into()),
        ("datdba", OWNER.into()),
        ("encoding", 6.into()),
        ("datcollate", "C".into()),
        ("datctype", "C".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", TABLESPACE.into()),
    ]
}

fn of_table(table: &Shown) -> Row {
    vec![("table_catalog", DATABASE.into()), ("table_schema", SCHEMA.into()), ("table_name", table.name.into())]
}

/// A relation with its schema and its owner, under what a catalog calls its name and owner.
fn owned(name: &'static str, owner: &'static str, table: &Shown) -> Row {
    vec![("schemaname", SCHEMA.into()), (name, table.name.into()), (owner, DATABASE.into())]
}

fn definition(view: &Shown) -> Cell {
    known::query_of(view.name).map_or(Cell::Null, Cell::from)
}

fn count(number: usize) -> Cell {
    Cell::Int(i32::try_from(number).unwrap_or(i32::MAX))
}

fn relation(oid: i32, table: &Shown) -> Row {
    let (kind, method) = if table.is_view { ("v", 0) } else { ("r", 2) };
    vec![
        ("oid", oid.into()),
        ("relname", table.name.into()),
        ("relnamespace", PUBLIC.into()),
        ("relowner", OWNER.into()),
        ("relam", method.into()),
        // Not known is -1, and how many rows there are is not for a catalog to say.
        ("reltuples", (-1).into()),
        ("relpersistence", "p".into()),
        ("relkind", kind.into()),
        ("relnatts", count(table.schema.fields().len())),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
        ("relacl", READABLE.into()),
    ]
}

fn attributes(oid: i32, table: &Shown) -> Vec<Row> {
    let attribute = |(at, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let kind = types::of(field.data_type());
        vec![
            ("attrelid", oid.into()),
            ("attname", field.name().as_str().into()),
            ("atttypid", kind.oid.into()),
            ("attstattarget", (-1).into()),
            ("attlen", kind.length.into()),
            ("attnum", count(at + 1)),
            ("attcacheoff", (-1).into()),
            ("atttypmod", types::modifier(field.data_type()).into()),
            ("attalign", "i".into()),
            ("attstorage", "p".into()),
            ("attcompression", "".into()),
            ("attidentity", "".into()),
            ("attgenerated", "".into()),
            ("attislocal", true.into()),
            // Of one without, pgjdbc says that its owner may write it.
            ("attacl", READABLE.into()),
        ]
    };
    table.schema.fields().iter().enumerate().map(attribute).collect()
}

/// A type.
fn of_one(kind: &types::Type) -> Row {
    let own: Row = vec![
        ("oid", kind.oid.into()),
        ("typname", kind.name.into()),
        ("typlen", kind.length.into()),
        ("typcategory", kind.category.into()),
        ("typarray", kind.array.into()),
        ("typinput", "".into()),
    ];
    [own, of_any()].concat()
}

/// The arrays of a type.
fn of_many(kind: &types::Type) -> Row {
    let own: Row = vec![
        ("oid", kind.array.into()),
        ("typname", format!("_{}", kind.name).as_str().into()),
        ("typlen", (-1).into()),
        ("typcategory", "A".into()),
        ("typelem", kind.oid.into()),
        ("typinput", "array_in".into()),
    ];
    [own, of_any()].concat()
}

/// What is the same of all types.
fn of_any() -> Row {
    vec![
        ("typnamespace", PG_CATALOG.into()),
        ("typowner", OWNER.into()),
        ("typtype", "b".into()),
        ("typisdefined", true.into()),
        ("typdelim", ",".into()),
        ("typtypmod", (-1).into()),
    ]
}

fn descriptions(oid: i32, table: &Shown) -> Vec<Row> {
    let Some(known) = known::of(table.name) else { return Vec::new() };
    let described = |place: usize, text: &'static str| {
        vec![
            ("objoid", oid.into()),
            ("classoid", known::OF_RELATIONS.into()),
            ("objsubid", count(place)),
            ("description", text.into()),
        ]
    };
    // By name: who may not read every tenant does not see every column.
    let column = |(at, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let named = known.columns.iter().find(|(name, _)| *name == field.name().as_str());
        named.map(|&(_, doc)| described(at + 1, doc))
    };
    let columns = table.schema.fields().iter().enumerate().filter_map(column);
    std::iter::once(described(0, known.about)).chain(columns).collect()
}

fn columns(table: &Shown) -> Vec<Row> {
    let column = |(at, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let kind = types::of(field.data_type());
        let (precision, scale) = match field.data_type() {
            DataType::Decimal128(precision, scale) => (i32::from(*precision).into(), i32::from(*scale).into()),
            DataType::Int16 => (16.into(), 0.into()),
            DataType::Int32 => (32.into(), 0.into()),
            DataType::Int64 => (64.into(), 0.into()),
            _ => (Cell::Null, Cell::Null),
        };
        let own = vec![
            ("column_name", field.name().as_str().into()),
            ("ordinal_position", count(at + 1)),
            ("is_nullable", "YES".into()),
            ("data_type", kind.sql.into()),
            ("character_maximum_length", Cell::Null),
            ("character_octet_length", Cell::Null),
            ("numeric_precision", precision),
            ("numeric_precision_radix", Cell::Null),
            ("numeric_scale", scale),
            ("datetime_precision", Cell::Null),
            ("udt_catalog", DATABASE.into()),
            ("udt_schema", "pg_catalog".into()),
            ("udt_name", kind.name.into()),
            ("is_identity", "NO".into()),
            ("is_generated", "NEVER".into()),
            ("is_updatable", "NO".into()),
        ];
        [of_table(table), own].concat()
    };
    table.schema.fields().iter().enumerate().map(column).collect()
}
