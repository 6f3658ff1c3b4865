//! `ledger`: the archive. Each record of the ledger as it is, so that the books can be made anew when the log has let go of it.
//!
//! No query sees it: its rows are of all tenants, and what they say is in the other tables. A row says after which offset it was looked
//! for and carries a checksum, so that a row that is missing, or is not what was written, is found when the archive is read
//! (`archive`). Sorted by time, which never goes back within a lane, so that all lanes can be read in one pass.

use schemas::id::Offset;

use super::{
    Builder, Placed, Policies, PushError, TableDef,
    column::{Column, Kind, Value},
    who::{LOG, log},
};

const COLUMNS: &[Column] = &[
    Column { name: "recorded_at", kind: Kind::Time, doc: "When metering accepted it; never goes back within a lane." },
    Column { name: "follows", kind: Kind::Long, doc: "The offset after the record before it in its lane." },
    Column {
        name: "checksum",
        kind: Kind::Int,
        doc: "The CRC-32 of its lane, its offset and its body, as 32 signed bits.",
    },
    Column {
        name: "body",
        kind: Kind::Bytes,
        doc: "The record: a ledger entry in Protobuf, byte for byte as in the log.",
    },
];

pub(super) const TABLE: TableDef = TableDef {
    name: "ledger",
    doc: "One row for each record of the ledger, as it is.",
    stored: &[LOG, COLUMNS],
    shown: None,
    resolve: None,
    condense: None,
    push,
    sort: &["recorded_at", "log_partition", "log_offset"],
    day: Some("recorded_at"),
    sums: &["log_offset", "follows", "checksum", "body"],
    shared: false,
    hidden: true,
};

fn push(rows: &mut Builder, placed: &Placed, _: &dyn Policies) -> Result<(), PushError> {
    let Placed { place, follows, entry, body } = placed;
    let own = [
        Value::Time(entry.recorded_at),
        Value::count(follows.0),
        Value::Int(i64::from(checksum(place.lane.0, place.offset, body))),
        Value::Bytes(body),
    ];
    rows.row(&[&log(*place), &own])
}

/// The checksum of a row.
pub(crate) fn checksum(lane: u16, offset: Offset, body: &[u8]) -> i32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&lane.to_le_bytes());
    hasher.update(&offset.0.to_le_bytes());
    hasher.update(body);
    hasher.finalize().cast_signed()
}
