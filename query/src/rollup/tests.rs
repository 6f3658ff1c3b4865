use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray, UInt64Array},
    compute::take,
    datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType},
};

use super::*;
use crate::table::{self, fixture};

/// Rows of a table: `number` attempts over some hours, of two tenants; one in five has no price, one in seven is not known.
fn rows(name: &str, number: u64) -> (&'static TableDef, RecordBatch) {
    use schemas::ledger::Fact;
    let table = table::by_name(name).unwrap();
    let mut builder = table.builder();
    for number in 0..number {
        let tenant = if number % 3 == 0 { "acme" } else { "globex" };
        let charged = match number {
            number if number.is_multiple_of(7) => fixture::missing(number, tenant),
            number if number.is_multiple_of(5) => fixture::unpriced(number, tenant),
            number => fixture::charged(number, tenant),
        };
        let seconds = i64::try_from(number).unwrap();
        let placed = fixture::placed(0, number, fixture::entry(seconds, Fact::Charged(Box::new(charged))));
        (table.push)(&mut builder, &placed, &fixture::Known::default()).unwrap();
    }
    (table, builder.finish().unwrap())
}

fn name_of(made: &Made) -> String {
    let tag = made.tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
    format!("{}{tag}", made.rollup.name)
}

fn made_of(name: &str, number: u64) -> BTreeMap<String, RecordBatch> {
    let (table, rows) = rows(name, number);
    made(table, &rows).unwrap().into_iter().map(|made| (name_of(&made), made.rows)).collect()
}

/// By tenant (none where all are together), hour and whether the cost is known: rows, and the sums of cost and of another number.
fn added_up(rows: &RecordBatch, other: &str) -> BTreeMap<(String, i64, bool), (i64, i128, i128)> {
    let number = |name: &str, row: usize| -> i128 {
        let column = rows.column_by_name(name).unwrap();
        let value = match column.data_type() {
            DataType::Int64 => i128::from(column.as_primitive::<Int64Type>().value(row)),
            _ => column.as_primitive::<Decimal128Type>().value(row),
        };
        if column.is_null(row) { 0 } else { value }
    };
    let (tenants, times) = (rows.column_by_name("tenant"), rows.column_by_name(TIME).unwrap());
    let tenant = |row: usize| tenants.map_or("", |tenants| tenants.as_string::<i32>().value(row)).to_owned();
    let mut sums = BTreeMap::new();
    for row in 0..rows.num_rows() {
        let hour = times.as_primitive::<TimestampMicrosecondType>().value(row) / Grain::Hour.micros();
        let known = rows.column_by_name("cost_usd").unwrap().is_valid(row);
        let weight = rows.column_by_name(ROWS).map_or(1, |rows| rows.as_primitive::<Int64Type>().value(row));
        let sum: &mut (i64, i128, i128) = sums.entry((tenant(row), hour, known)).or_default();
        *sum = (sum.0 + weight, sum.1 + number("cost_usd", row), sum.2 + number(other, row));
    }
    sums
}

#[test]
fn a_rollup_adds_up_to_what_its_rows_do() {
    for (name, other) in [("charges", "quantity"), ("usage", "output_tokens"), ("calls", "duration_ms")] {
        let wanted = added_up(&rows(name, 10_000).1, other);
        assert!(wanted.len() > 8, "{wanted:?}");
        let made = made_of(name, 10_000);
        assert_eq!(added_up(made.get("hourly").unwrap(), other), wanted, "{name}");
        let days = |sums: BTreeMap<(String, i64, bool), (i64, i128, i128)>, has_tenants: bool| {
            let mut days = BTreeMap::new();
            for ((tenant, hour, known), sum) in sums {
                let tenant = if has_tenants { tenant } else { String::new() };
                let day: &mut (i64, i128, i128) = days.entry((tenant, hour / 24, known)).or_default();
                *day = (day.0 + sum.0, day.1 + sum.1, day.2 + sum.2);
            }
            days
        };
        assert!(made.contains_key("daily_anyone"), "{name}: {:?}", made.keys());
        for (name, rows) in made.iter().filter(|(name, _)| *name != "hourly") {
            let has_tenants = !name.ends_with("_anyone");
            assert_eq!(days(added_up(rows, other), has_tenants), days(wanted.clone(), has_tenants), "{name}");
        }
    }
}

#[test]
fn rows_come_by_tenant_and_time_whatever_the_order_they_were_in() {
    let (table, rows) = rows("charges", 5_000);
    let backwards: UInt64Array = (0..rows.num_rows() as u64).rev().collect();
    let columns = rows.columns().iter().map(|column| take(column, &backwards, None).unwrap()).collect();
    let backwards = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let (forth, back) = (made(table, &rows).unwrap(), made(table, &backwards).unwrap());
    let names: Vec<String> = forth.iter().map(name_of).collect();
    // There is one model, so those by it would have as many rows.
    let kept = ["hourly", "daily", "hourly_anyone", "daily_anyone", "daily_key", "daily_user", "daily_tags"];
    assert_eq!(names, kept);
    for (forth, back) in forth.iter().zip(&back) {
        assert_eq!(forth.rows, back.rows, "{}", name_of(forth));
        assert_eq!(forth.rows.schema(), forth.rollup.schema(table));
    }
}

/// Of 5,000 attempts there are calls enough for no more than 750 rows.
#[test]
fn what_would_not_shrink_is_not_kept() {
    let (table, rows) = rows("usage", 5_000);
    let different = |values: usize| {
        let users: StringArray = (0..rows.num_rows()).map(|row| Some(format!("user {}", row % values))).collect();
        let at = rows.schema().index_of("user_id").unwrap();
        let mut columns = rows.columns().to_vec();
        columns[at] = Arc::new(users);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        let made = made(table, &rows).unwrap();
        assert!(made.iter().all(|made| made.rows.num_rows() * 100 <= rows.num_rows() * MOST_PERCENT));
        made.iter().any(|made| made.rollup.name == "daily_user")
    };
    assert!(different(20));
    assert!(!different(1_000));
}

#[test]
fn rows_that_differ_have_those_of_few_columns() {
    let (table, rows) = rows("charges", 6_000);
    let with = |teams: usize, models: usize| {
        let text = |values: usize| -> ArrayRef {
            Arc::new((0..rows.num_rows()).map(|row| Some(format!("{}", row % values))).collect::<StringArray>())
        };
        let mut columns = rows.columns().to_vec();
        columns[rows.schema().index_of("team").unwrap()] = text(teams);
        columns[rows.schema().index_of("model").unwrap()] = text(models);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        let made = made(table, &rows).unwrap();
        let names = made.iter().filter(|made| made.tag.is_none()).map(name_of);
        names.filter(|name| !["daily_user", "daily_tags"].contains(&&**name)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(with(1, 1), "hourly daily hourly_anyone daily_anyone daily_key");
    assert_eq!(with(5_003, 1), "hourly_model daily_model hourly_anyone daily_anyone");
    // Its two hours do not have twice as many rows as the day.
    assert_eq!(with(5_003, 97), "hourly_model hourly_tenant daily_tenant daily_anyone");
    assert_eq!(with(1, 5_003), "hourly_tenant daily_tenant");
}

/// Where all their tags are a set of their own for each row, those by one tag are kept, of those that most rows have.
#[test]
fn rows_of_many_tags_are_added_up_by_one() {
    let (table, rows) = rows("charges", 6_000);
    let tagged = |tags: fn(usize) -> Option<String>| {
        let tags: StringArray = (0..rows.num_rows()).map(tags).collect();
        let mut columns = rows.columns().to_vec();
        columns[rows.schema().index_of("tags").unwrap()] = Arc::new(tags);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        let wanted = added_up(&rows, "quantity");
        let mut made = made(table, &rows).unwrap();
        made.retain(|made| made.rollup.has("tags"));
        for made in &made {
            let all = |sums: &BTreeMap<(String, i64, bool), (i64, i128, i128)>| {
                sums.values().fold((0, 0, 0), |all, sum| (all.0 + sum.0, all.1 + sum.1, all.2 + sum.2))
            };
            assert_eq!(all(&added_up(&made.rows, "quantity")), all(&wanted), "{}", name_of(made));
        }
        made
    };
    let texts = |made: &Made| -> Vec<Option<String>> {
        let tags = made.rows.column_by_name("tags").unwrap().as_string::<i32>();
        let mut texts: Vec<_> = tags.iter().map(|tags| tags.map(str::to_owned)).collect();
        texts.sort();
        texts.dedup();
        texts
    };
    let by_release =
        tagged(|row| (row % 3 > 0).then(|| format!(r#"{{"env":"e{}","odd \"/ name":"","trace":"{row}"}}"#, row % 2)));
    let names: Vec<String> = by_release.iter().map(name_of).collect();
    assert_eq!(names, ["daily_tag_model:env", "daily_tag_model:odd \"/ name"]);
    assert_eq!(texts(&by_release[0]), [None, Some(r#"{"env":"e0"}"#.to_owned()), Some(r#"{"env":"e1"}"#.to_owned())]);
    assert_eq!(texts(&by_release[1]), [None, Some(r#"{"odd \"/ name":""}"#.to_owned())]);
    // Of two names that a file system may take for one there is one.
    let alike = tagged(|row| Some(format!(r#"{{"ENV":"E","env":"e{}","trace":"{row}"}}"#, row % 2)));
    let models = alike.iter().filter(|made| made.rollup.name == "daily_tag_model");
    assert_eq!(models.map(name_of).collect::<Vec<_>>(), ["daily_tag_model:ENV"]);
    let few = tagged(|row| Some(format!(r#"{{"env":"e{}"}}"#, row % 2)));
    assert_eq!(few.iter().map(name_of).collect::<Vec<_>>(), ["daily_tags"]);
}

#[test]
fn sums_are_wider_than_their_rows_and_never_wrap() {
    let (table, rows) = rows("charges", 2_000);
    let at = rows.schema().index_of("cost_usd").unwrap();
    let dearest = Decimal128Array::from(vec![i128::from(i64::MAX); rows.num_rows()]);
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(dearest.with_data_type(columns[at].data_type().clone()));
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let daily = made(table, &rows).unwrap().remove(1);
    let sum: i128 =
        daily.rows.column_by_name("cost_usd").unwrap().as_primitive::<Decimal128Type>().iter().flatten().sum();
    assert_eq!(sum, i128::from(i64::MAX) * rows.num_rows() as i128);
}
