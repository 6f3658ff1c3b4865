//! What clients are told of the service and of its SQL, by the numbers of `SqlInfo` and `XdbcDataType` in `FlightSql.proto`.
//!
//! Drivers ask for all of it at once and rely on what they have asked for, so everything that has a number is here, also what is not to
//! be had.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        Array as _, ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, UInt32Array,
        UnionArray, new_empty_array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Fields, Schema, UnionFields},
    error::ArrowError,
};
use tonic::Status;

use super::ipc;
use crate::sql::MAX_SQL_BYTES;

/// A value of [`INFO`].
#[derive(Clone, Copy)]
enum Value {
    Text(&'static str),
    Flag(bool),
    /// A most; 0 where there is none, or nobody knows it.
    Most(i64),
    /// A number of an enumeration, or the sum of bits.
    Code(i32),
    /// A list of nothing.
    None,
}

use Value::{Code, Flag, Most, None, Text};

/// What is said by numbers from `.0` to `.1`.
const INFO: &[(u32, u32, Value)] = &[
    // The server.
    (0, 0, Text("Tollgate")),
    (1, 1, Text(env!("CARGO_PKG_VERSION"))),
    (2, 2, Text(arrow::ARROW_VERSION)),
    (3, 3, Flag(true)),    // read only
    (4, 4, Flag(true)),    // SQL
    (5, 5, Flag(false)),   // Substrait
    (8, 8, Code(0)),       // transactions: none
    (9, 9, Flag(true)),    // cancels
    (10, 11, Flag(false)), // bulk ingestion
    (100, 101, Code(0)),   // handles and transactions time out: never
    // Names.
    (500, 502, Flag(false)), // CREATE and DROP
    (503, 503, Code(3)),     // names: in lower case
    (504, 504, Text("\"")),
    (505, 505, Code(0)),    // names in quotes: as they are written
    (506, 506, Flag(true)), // all tables may be read
    (507, 507, Code(0)),    // NULL sorts high
    (508, 512, None),       // keywords and functions
    (513, 513, Text("\\")),
    (514, 514, Text("")),
    // What a query may say.
    (515, 516, Flag(true)), // aliases; NULL with something is NULL
    (518, 518, Flag(true)), // aliases of tables
    (519, 519, Flag(false)),
    (520, 521, Flag(true)), // ORDER BY what is calculated, or not selected
    (522, 522, Code(3)),    // GROUP BY anything
    (523, 523, Flag(true)), // LIKE … ESCAPE
    (524, 524, Flag(false)),
    (525, 525, Code(3)), // grammar of ODBC: core
    (526, 526, Code(1)), // SQL-92: entry
    (527, 527, Flag(false)),
    (528, 528, Code(2)), // outer joins: all
    (529, 529, Text("schema")),
    (530, 530, Text("procedure")),
    (531, 531, Text("catalog")),
    (532, 532, Flag(true)),  // a catalog stands at the begin of a name
    (533, 535, Code(0)),     // procedures, indexes, privileges, positioned updates
    (536, 537, Flag(false)), // FOR UPDATE; procedures
    (538, 538, Code(15)),    // subqueries: anywhere
    (539, 539, Flag(true)),  // also correlated ones
    (540, 540, Code(3)),     // UNION and UNION ALL
    // The most of everything.
    (541, 555, Most(0)),
    (556, 556, Flag(true)),
    (557, 557, Most(MAX_SQL_BYTES as i64)),
    (558, 561, Most(0)),
    // Transactions and cursors.
    (562, 562, Code(0)), // no isolation
    (563, 563, Flag(false)),
    (564, 564, Code(1)),     // none at all
    (565, 566, Flag(false)), // DDL in transactions
    (567, 567, Code(3)),     // forward only
    (568, 569, Code(3)),     // read only
    (570, 571, Code(0)),
    (572, 576, Flag(false)), // batches, savepoints, names of parameters, procedures
];

/// What was asked for of [`INFO`]; all, if nothing in particular was.
pub(super) fn sql(wanted: &[u32]) -> Result<RecordBatch, Status> {
    let said = INFO.iter().flat_map(|(first, last, value)| (*first..=*last).map(|number| (number, *value)));
    let said: Vec<(u32, Value)> = said.filter(|(number, _)| wanted.is_empty() || wanted.contains(number)).collect();
    let numbers = UInt32Array::from_iter_values(said.iter().map(|(number, _)| *number));
    let values = union(said.iter().map(|(_, value)| *value)).map_err(ipc::failed)?;
    let schema = Schema::new(vec![
        Field::new("info_name", DataType::UInt32, false),
        Field::new("value", values.data_type().clone(), false),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(values)]).map_err(ipc::failed)
}

/// The values as the dense union that has a member for each kind of them.
fn union(values: impl Iterator<Item = Value>) -> Result<UnionArray, ArrowError> {
    let (mut texts, mut flags, mut mosts, mut codes, mut lists) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0_usize);
    let (mut kinds, mut places) = (Vec::new(), Vec::new());
    let mut push = |kind: i8, place: usize| {
        kinds.push(kind);
        places.push(i32::try_from(place).unwrap_or(i32::MAX));
    };
    for value in values {
        match value {
            Text(text) => {
                push(0, texts.len());
                texts.push(text);
            }
            Flag(flag) => {
                push(1, flags.len());
                flags.push(flag);
            }
            Most(most) => {
                push(2, mosts.len());
                mosts.push(most);
            }
            Code(code) => {
                push(3, codes.len());
                codes.push(code);
            }
            None => {
                push(4, lists);
                lists += 1;
            }
        }
    }
    let nothing = new_empty_array(&DataType::Utf8);
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let lists = ListArray::try_new(item, OffsetBuffer::new_zeroed(lists), nothing, Option::None)?;
    let fields = members();
    let children: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts)),
        Arc::new(BooleanArray::from(flags)),
        Arc::new(Int64Array::from(mosts)),
        Arc::new(Int32Array::from(codes)),
        Arc::new(lists),
        new_empty_array(&map()),
    ];
    UnionArray::try_new(fields, ScalarBuffer::from(kinds), Some(ScalarBuffer::from(places)), children)
}

fn members() -> UnionFields {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let member = |(name, kind): (&str, DataType)| Field::new(name, kind, false);
    let fields = [
        ("string_value", DataType::Utf8),
        ("bool_value", DataType::Boolean),
        ("bigint_value", DataType::Int64),
        ("int32_bitmask", DataType::Int32),
        ("string_list", list),
        ("int32_to_int32_list_map", map()),
    ]
    .map(member);
    UnionFields::from_fields(fields)
}

/// From which type values can be made into which: nobody says.
fn map() -> DataType {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    let entry = Fields::from(vec![Field::new("keys", DataType::Int32, false), Field::new("values", list, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// A type of SQL.
struct Type {
    name: &'static str,
    /// Its number in `XdbcDataType`.
    number: i32,
    /// Digits, or characters.
    size: Option<i32>,
    /// What stands before a constant.
    prefix: Option<&'static str>,
    /// The base of its digits, if it is a number.
    radix: Option<i32>,
    /// The most digits behind the point.
    scale: Option<i32>,
    /// Which kind of time it is.
    time: Option<i32>,
}

impl Type {
    const fn new(name: &'static str, number: i32, size: Option<i32>) -> Self {
        Self { name, number, size, prefix: Option::None, radix: Option::None, scale: Option::None, time: Option::None }
    }

    const fn number(name: &'static str, number: i32, size: i32, radix: i32, scale: Option<i32>) -> Self {
        Self { radix: Some(radix), scale, ..Self::new(name, number, Some(size)) }
    }

    const fn text(name: &'static str, number: i32, size: Option<i32>, prefix: &'static str, time: Option<i32>) -> Self {
        Self { prefix: Some(prefix), time, ..Self::new(name, number, size) }
    }
}

/// The types that columns have, in the order of their numbers.
const TYPES: [Type; 11] = [
    Type::new("BOOLEAN", -7, Some(1)),
    Type::number("BIGINT", -5, 19, 10, Some(0)),
    Type::new("VARBINARY", -3, Option::None),
    Type::number("DECIMAL", 3, 76, 10, Some(76)),
    Type::number("INTEGER", 4, 10, 10, Some(0)),
    Type::number("SMALLINT", 5, 5, 10, Some(0)),
    Type::number("REAL", 7, 24, 2, Option::None),
    Type::number("DOUBLE", 8, 53, 2, Option::None),
    Type::text("VARCHAR", 12, Option::None, "'", Option::None),
    Type::text("DATE", 91, Some(10), "DATE '", Some(1)),
    Type::text("TIMESTAMP", 93, Some(26), "TIMESTAMP '", Some(3)),
];

/// All types, or that of a number.
pub(super) fn types(wanted: Option<i32>) -> Result<RecordBatch, Status> {
    static ALL: LazyLock<Result<RecordBatch, String>> = LazyLock::new(|| table().map_err(|error| error.to_string()));
    let all = ALL.as_ref().map_err(|why| ipc::failed(ArrowError::SchemaError(why.clone())))?;
    let Some(wanted) = wanted else { return Ok(all.clone()) };
    let kept: BooleanArray = TYPES.iter().map(|one| Some(one.number == wanted)).collect();
    arrow::compute::filter_record_batch(all, &kept).map_err(ipc::failed)
}

fn table() -> Result<RecordBatch, ArrowError> {
    let texts =
        |of: fn(&Type) -> Option<&'static str>| -> ArrayRef { Arc::new(TYPES.iter().map(of).collect::<StringArray>()) };
    let codes = |of: fn(&Type) -> Option<i32>| -> ArrayRef { Arc::new(TYPES.iter().map(of).collect::<Int32Array>()) };
    let flags =
        |of: fn(&Type) -> Option<bool>| -> ArrayRef { Arc::new(TYPES.iter().map(of).collect::<BooleanArray>()) };
    let parameter = Arc::new(Field::new_list_field(DataType::Utf8, false));
    let parameters = ListArray::new_null(Arc::clone(&parameter), TYPES.len());
    // Those of times are of one number in all.
    let general: fn(&Type) -> Option<i32> = |one| Some(if one.time.is_some() { 9 } else { one.number });
    let columns: Vec<(&str, bool, ArrayRef)> = vec![
        ("type_name", false, texts(|one| Some(one.name))),
        ("data_type", false, codes(|one| Some(one.number))),
        ("column_size", true, codes(|one| one.size)),
        ("literal_prefix", true, texts(|one| one.prefix)),
        ("literal_suffix", true, texts(|one| one.prefix.map(|_| "'"))),
        ("create_params", true, Arc::new(parameters)),
        ("nullable", false, codes(|_| Some(1))),
        ("case_sensitive", false, flags(|one| Some(one.number == 12))),
        ("searchable", false, codes(|_| Some(3))),
        ("unsigned_attribute", true, flags(|one| one.radix.map(|_| false))),
        ("fixed_prec_scale", false, flags(|_| Some(false))),
        ("auto_increment", true, flags(|one| one.radix.map(|_| false))),
        ("local_type_name", true, texts(|one| Some(one.name))),
        ("minimum_scale", true, codes(|one| one.scale.map(|_| 0))),
        ("maximum_scale", true, codes(|one| one.scale)),
        ("sql_data_type", false, codes(general)),
        ("datetime_subcode", true, codes(|one| one.time)),
        ("num_prec_radix", true, codes(|one| one.radix)),
        ("interval_precision", true, codes(|_| Option::None)),
    ];
    let field = |(name, null, column): &(&str, bool, ArrayRef)| Field::new(*name, column.data_type().clone(), *null);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(.., column)| column).collect())
}
