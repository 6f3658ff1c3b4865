//! How fresh answers are: calls are written at a rate while the lake is written and questions are answered in the same process, and the
//! newest call is asked for until it is there.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use journal::{Disk, Options, Road, kafka::Kafka};
use query::{Deps, Door, Doors, Query, config::ShelveConfig};
use schemas::id::{CallId, ProducerId};
use tokio_util::sync::CancellationToken;

use super::{
    broker,
    fill::{Metering, Plan, TOKEN},
};

/// The log of a plan, on disk.
pub(crate) fn disk(plan: &Plan) -> Arc<dyn Road> {
    Disk::open(&plan.dir.join("log"), &Options::default()).unwrap()
}

/// A log on a real Kafka, which works on the same cores.
pub(crate) fn kafka(plan: &Plan) -> Arc<dyn Road> {
    let brokers = vec![broker::shared().unwrap().to_owned()];
    let prefix = format!("bench-{}", ProducerId::fresh());
    Kafka::open(journal::kafka::Options::new(brokers, prefix, 1, plan.dir.join("outbox"))).unwrap()
}

/// How often what has ended is committed: as metering does on an embedded log.
const BATCH: Duration = Duration::from_millis(5);

pub(crate) fn fresh(plan: &Plan, road: Arc<dyn Road>, rate: u64, span: Duration) {
    let mut metering = Metering::new(plan, road.member().unwrap());
    metering.published(road.as_ref());
    metering.write(rate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/sql", listener.local_addr().unwrap());
    let role = Query::new(Deps {
        road: Arc::clone(&road),
        lake_url: plan.dir.join("lake").to_str().unwrap().to_owned(),
        writes: true,
        doors: Some(Doors { http: Door { listener, tls: None }, postgres: None, flight: None }),
        config: ShelveConfig::default(),
    });
    let (ready, shutdown) = (role.readiness(), CancellationToken::new());
    let (newest, over) = (Mutex::new(None), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| role.run(&shutdown).unwrap());
        while !ready.why_not().is_empty() {
            thread::sleep(BATCH);
        }
        let writer = scope.spawn(|| write(&mut metering, rate, &newest, &over));
        let waits = ask(&url, &newest, span);
        over.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        shutdown.cancel();
        let at = |part: usize| waits[(waits.len() - 1) * part / 100];
        println!(
            "{written} calls a second were written; of {} that were asked for, in an answer after: p50 {:?}, p99 {:?}, at most {:?}",
            waits.len(),
            at(50),
            at(99),
            at(100)
        );
    });
    road.close().unwrap();
}

/// Writes at the rate until it is over; gives how many a second it came to.
fn write(metering: &mut Metering, rate: u64, newest: &Mutex<Option<(CallId, Instant)>>, over: &AtomicBool) -> u64 {
    let (begun, mut written) = (Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * rate / 1_000_000;
        if due > written {
            written += metering.write(due - written);
            *newest.lock().unwrap() = metering.last.map(|call| (call, Instant::now()));
        }
        thread::sleep(BATCH);
    }
    written * 1_000 / u64::try_from(begun.elapsed().as_millis()).unwrap()
}

/// Asks for the newest call until an answer has it, again and again; gives how long it took each time, in order of length.
fn ask(url: &str, newest: &Mutex<Option<(CallId, Instant)>>, span: Duration) -> Vec<Duration> {
    let client = reqwest::blocking::Client::new();
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while begun.elapsed() < span {
        let Some((call, since)) = newest.lock().unwrap().take() else {
            thread::sleep(BATCH);
            continue;
        };
        let sql = format!("SELECT call_id FROM usage WHERE call_id = '{call}'");
        let body = format!("{{\"sql\":\"{sql}\"}}");
        loop {
            let asked =
                client.post(url).bearer_auth(TOKEN).header("content-type", "application/json").body(body.clone());
            let answer = asked.send().unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().unwrap());
            if answer.text().unwrap().contains(&call.to_string()) {
                break;
            }
        }
        waits.push(since.elapsed());
        // Between two questions others have their turn, as they would.
        thread::sleep(Duration::from_millis(50));
    }
    waits.sort_unstable();
    waits
}
