//! Upkeep changes no answer: whatever is shelved, joined, checkpointed and deleted in between, what was known is answered to the byte,
//! rows of closed months among it, and a version that a query holds can be read to its end.

use std::{fs, time::SystemTime};

use futures::future::join_all;
use schemas::{
    ledger::{Entry, Fact},
    time::Time,
};

use super::{older::answered, *};
use crate::{
    compact::compact,
    table::fixture::{Known, NOON, charged, entry, limits, placed},
    tail::Placed,
};

const DAY: i64 = 86_400;

/// What is asked between any two steps; `{}` is the instant as of which it was known.
const QUESTIONS: [&str; 6] = [
    "SELECT tenant, count(*) AS n, sum(cost_usd) AS usd, sum(input_tokens) AS tokens FROM usage WHERE recorded_at <= {} GROUP BY tenant ORDER BY tenant",
    "SELECT billing_period, tenant, token_class, sum(quantity) AS quantity, sum(cost_usd) AS usd FROM charges \
     WHERE recorded_at <= {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT * FROM charges WHERE billing_period = '2026-11' AND recorded_at <= {} ORDER BY log_partition, log_offset, token_class",
    "SELECT * FROM usage WHERE recorded_at <= {} ORDER BY log_partition, log_offset",
    "SELECT date_trunc('day', time) AS day, sum(requests) AS n, max(duration_ms) AS ms FROM calls WHERE recorded_at <= {} GROUP BY 1 ORDER BY 1",
    "SELECT * FROM balances WHERE {} IS NOT NULL ORDER BY limit_name, window_start",
];

/// When a record is made: every hundredth part of a day from 2026-11-20 on, and later in the middle of December, when November is closed.
fn seconds(offset: u64) -> i64 {
    i64::try_from(offset).unwrap() * DAY / 100 + if offset < 200 { 0 } else { 21 * DAY }
}

/// Calls, of which every fifth states a counter in place of its charge.
fn ledger(offsets: Range<u64>) -> Vec<Placed> {
    let made = |offset: u64| {
        let seconds = seconds(offset);
        let at = fixture::at(seconds);
        let mut call = charged(offset, if offset.is_multiple_of(3) { "acme" } else { "globex" });
        call.settled.attempt.admitted_at = at;
        call.settled.settled_at = Time::from_micros(at.as_micros() + 2_000_000);
        let made: Entry = match offset % 5 {
            0 => {
                let used = [(0, i128::from(offset))];
                entry(seconds + 3, Fact::Balance(Box::new(fixture::balance(&limits()[0], &[], &used))))
            }
            _ => entry(seconds + 3, Fact::Charged(Box::new(call))),
        };
        placed(0, offset, made)
    };
    offsets.map(made).collect()
}

async fn shelved(lake: &Arc<Lake>, offsets: Range<u64>) {
    let tail = Tail::new(lake.pin(), 2, Bounds { rows: 1_000_000, bytes: 1 << 30 });
    tail.apply(&ledger(offsets), &Known::with(&limits())).expect("applied");
    crate::shelve::shelve(lake.clone(), Arc::new(tail), true).await.expect("shelved");
}

async fn answers(lake: &Arc<Lake>, known: Time) -> Vec<String> {
    // Each has an engine and threads of its own.
    let asked = QUESTIONS.map(|sql| async move {
        let sql = sql.replace("{}", &format!("TIMESTAMP '{known}'"));
        answered(lake, &sql).await.to_string()
    });
    join_all(asked).await
}

/// Makes everything that is in the lake's folder look as if it had been written ten days ago.
fn aged(folder: &std::path::Path) {
    let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(NOON.as_micros().unsigned_abs());
    for path in fs::read_dir(folder).unwrap().map(|found| found.unwrap().path()) {
        if path.is_dir() {
            aged(&path);
        } else if path.extension().is_some_and(|ending| ending == "parquet") {
            fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_changes_no_answer_of_what_was_known() {
    let home = Home::new(Kind::Local).await;
    let folder = home.place.url.to_file_path().unwrap();
    let mut lake = open(&home).await;
    let (mut lots, mut end) = (7_u64, 0);
    let mut joined = 0;
    for _ in 0..6 {
        // Many small commits within a day or two, so that there is something to join.
        for _ in 0..9 {
            lots = lots.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let more = 3 + (lots >> 60);
            shelved(&lake, end..end + more).await;
            end += more;
        }
        let times = [end / 3, end - 1].map(|offset| fixture::at(seconds(offset) + 3));
        let before = [answers(&lake, times[0]).await, answers(&lake, times[1]).await];
        assert!(before[1][2].len() > 1_000, "there are charges of a closed month");
        for def in ALL {
            let version = lake.pin()[def.index()].clone();
            joined += compact(&lake, def, &version).await.expect("compacted");
        }
        let after = [answers(&lake, times[0]).await, answers(&lake, times[1]).await];
        assert!(after == before, "compaction changed an answer");
        aged(&folder);
        for def in ALL {
            lake.tidy(def).await.expect("tidied");
        }
        lake = open(&home).await;
        let after = [answers(&lake, times[0]).await, answers(&lake, times[1]).await];
        assert!(after == before, "a checkpoint or what was deleted changed an answer");
    }
    assert!(joined > 10, "{joined} compactions");
    let listed: usize = lake.pin()[usage().index()].files.len();
    assert_eq!(files_on_the_store(&home).await, listed, "what no version needs is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_stays_for_a_day_however_old_it_is() {
    let home = Home::new(Kind::Local).await;
    let lake = Lake::open_at(home.place.clone(), 2, 86_400).await.expect("a lake");
    for end in 1..=10 {
        shelved(&lake, (end - 1) * 5..end * 5).await;
    }
    aged(&home.place.url.to_file_path().unwrap());
    let held = lake.pin()[usage().index()].clone();
    assert!(compact(&lake, usage(), &held).await.expect("compacted") > 0);
    lake.tidy(usage()).await.expect("tidied");
    let rows = |batches: Vec<arrow::array::RecordBatch>| batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    let newest = lake.refresh(usage()).await.expect("read");
    assert!(newest.files.len() < held.files.len());
    let (old, new) = (lake.read(usage(), &held.files).await, lake.read(usage(), &newest.files).await);
    assert_eq!(rows(old.expect("a query that began before goes on")), rows(new.expect("read")));
}
