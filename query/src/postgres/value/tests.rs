use arrow::{
    array::{Decimal128Array, Decimal256Array, Float64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray},
    datatypes::{Field, IntervalMonthDayNano, Schema, i256},
};

use super::{super::parameter, *};
use crate::sql::Write as _;

/// The first value of a column, as it is written.
fn written(array: ArrayRef, binary: bool, zone: Option<&str>) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![Field::new("a", array.data_type().clone(), true)]));
    let kinds = vec![Kind::of(array.data_type())];
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    let mut rows = Rows { kinds, formats: vec![i16::from(binary)], zone: zone.map(Into::into) };
    let block = rows.rows(&batch).unwrap();
    assert_eq!(block.ends, [block.bytes.len()]);
    // The kind of message, its length, the number of values, and the length of the value.
    block.bytes.slice(11..).to_vec()
}

fn text(array: impl Array + 'static, zone: Option<&str>) -> String {
    String::from_utf8(written(Arc::new(array), false, zone)).unwrap()
}

#[test]
fn text_is_as_postgres_writes_it() {
    let time = TimestampMicrosecondArray::from(vec![1_794_900_000_120_000]);
    assert_eq!(text(time.clone(), None), "2026-11-17 07:20:00.12");
    let time = time.with_timezone("UTC");
    assert_eq!(text(time.clone(), None), "2026-11-17 07:20:00.12+00");
    assert_eq!(text(time.clone(), Some("Asia/Kolkata")), "2026-11-17 12:50:00.12+05:30");
    assert_eq!(text(time, Some("America/New_York")), "2026-11-17 02:20:00.12-05");
    // There is no year 0.
    let before = TimestampMicrosecondArray::from(vec![-63_517_779_000_000_000]);
    assert_eq!(text(before.clone(), None), "0044-03-15 12:30:00 BC");
    assert_eq!(text(before.with_timezone("UTC"), None), "0044-03-15 12:30:00+00 BC");
    assert_eq!(text(arrow::array::Date32Array::from(vec![-719_528]), None), "0001-01-01 BC");
    let money = Decimal128Array::from(vec![-1]).with_precision_and_scale(18, 12).unwrap();
    assert_eq!(text(money, None), "-0.000000000001");
    assert_eq!(text(Float64Array::from(vec![f64::INFINITY]), None), "Infinity");
    assert_eq!(text(arrow::array::BooleanArray::from(vec![true]), None), "t");
    assert_eq!(text(arrow::array::BinaryArray::from(vec![&b"\x00\xff"[..]]), None), "\\x00ff");
    let interval =
        |months, days, nanos| IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, nanos)]);
    assert_eq!(text(interval(1, 2, 3_723_000_004_000), None), "1 mon 2 days 01:02:03.000004");
    assert_eq!(text(interval(0, 0, -60_000_000_000), None), "-00:01:00");
}

#[test]
fn a_decimal_is_the_same_in_binary_and_read_again() {
    let check = |text: &str, wanted: &[u16]| {
        let mut body = BytesMut::new();
        numeric(&mut body, text);
        let words: Vec<u16> = body.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
        assert_eq!(words, wanted, "{text}");
        assert_eq!(parameter::digits(&body).as_deref(), Some(text), "{text}");
    };
    check("0", &[0, 0, 0, 0]);
    check("0.00", &[0, 0, 0, 2]);
    check("1", &[1, 0, 0, 0, 1]);
    check("10000", &[1, 1, 0, 0, 1]);
    check("12345.678", &[3, 1, 0, 3, 1, 2345, 6780]);
    check("-0.000000000001", &[1, 0xfffd, 0x4000, 12, 1]);
    check("0.5", &[1, 0xffff, 0, 1, 5000]);
    let wide = Decimal256Array::from(vec![i256::MAX]).with_precision_and_scale(76, 12);
    assert!(wide.is_ok_and(|wide| written(Arc::new(wide), true, None).len() > 40));
}
