//! The role as a whole: a ledger on disk, rows that appear, move into the lake and are compacted while questions are asked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Instant,
};

use journal::{Disk, Member, Options, Outputs, Polled};
use schemas::{ledger::Entry, policy::Record, price::Book};
use serde_json::{Value, json};

use super::*;
use crate::sql::tests::world;

const DEADLINE: Duration = Duration::from_secs(60);

/// A role that runs until dropped, and metering's side of its ledger.
struct House {
    road: Arc<Disk>,
    member: Box<dyn Member>,
    folder: tempfile::TempDir,
    role: Option<Running>,
}

struct Running {
    address: SocketAddr,
    postgres: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
    thread: thread::JoinHandle<Result<(), RunError>>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let road = Disk::open(&folder.path().join("log"), &Options::default()).unwrap();
        let mut member = road.member().unwrap();
        until("a lane", || matches!(member.poll(LOOK).unwrap(), Polled::Assigned(..)));
        member.resume(Lane(0), Offset(0)).unwrap();
        let policy = Record::Policy(Box::new(world::policy(&["acme"])));
        let records =
            [Record::Book(Box::new(Book::builtin())), policy].map(|record| wire::encode_policy(&record).into());
        road.publish(&records).unwrap();
        Self { road, member, folder, role: None }
    }

    fn start(&mut self) {
        self.begin();
        let readiness = self.role.as_ref().unwrap().readiness.clone();
        until("readiness", || readiness.why_not().is_empty());
    }

    /// Starts, and does not wait until it can answer.
    fn begin(&mut self) {
        let [listener, postgres] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let at = postgres.local_addr().unwrap();
        let role = Query::new(Deps {
            road: self.road.clone(),
            lake_url: self.folder.path().join("lake").to_str().unwrap().to_owned(),
            writes: true,
            doors: Some(Doors {
                http: Door { listener, tls: None },
                postgres: Some(Door { listener: postgres, tls: None }),
                flight: None,
            }),
            config: ShelveConfig {
                commit_age: Duration::from_millis(100),
                refresh: Duration::from_millis(50),
                compact: Some(Duration::from_millis(150)),
                ..ShelveConfig::default()
            },
        });
        let (address, readiness) = (role.local_addr().unwrap(), role.readiness());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let thread = thread::spawn(move || role.run(&stop));
        self.role = Some(Running { address, postgres: at, readiness, shutdown, thread });
    }

    fn stop(&mut self) {
        let role = self.role.take().unwrap();
        role.shutdown.cancel();
        role.thread.join().unwrap().unwrap();
    }

    fn commit(&mut self, entries: &[Entry]) {
        let ledger = entries.iter().map(|entry| wire::encode_entry(entry).into()).collect();
        self.member.commit(Lane(0), &Outputs { input: Offset(0), ledger, ..Outputs::default() }).unwrap();
    }

    fn address(&self) -> SocketAddr {
        self.role.as_ref().unwrap().address
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "no {what} in {DEADLINE:?}");
        thread::yield_now();
    }
}

/// Status, head and body of an answer.
fn http(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_lowercase(), body.to_owned())
}

fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn ask(address: SocketAddr, sql: &str) -> Value {
    let (status, _, body) = http(address, &request("POST", "/v1/sql", "tgq-all", &json!({ "sql": sql }).to_string()));
    assert_eq!(status, 200, "{sql}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// What was spent since an older copy of the log is in the lake and not in the log: it would be spent again.
#[test]
fn a_log_that_is_older_than_its_lake_is_refused() {
    let mut house = House::new();
    house.start();
    house.commit(&[world::charged("acme", 1, "alice", Some(100), 5), world::charged("acme", 2, "alice", Some(100), 5)]);
    until("rows", || ask(house.address(), "SELECT count(*) AS n FROM usage")["rows"] == json!([{ "n": 2 }]));
    house.stop();
    let mut older = House::new();
    std::fs::rename(house.folder.path().join("lake"), older.folder.path().join("lake")).unwrap();
    older.begin();
    let role = older.role.take().unwrap();
    let error = role.thread.join().unwrap().unwrap_err();
    assert!(matches!(error, RunError::Older { end: 0, shelved: 2 }), "{error}");
    assert!(role.readiness.why_not().join("").starts_with("TG5009"), "{:?}", role.readiness.why_not());
}

/// Of a log that has more than the lake the rest would be put behind rows that it does not have.
#[test]
fn a_log_that_is_another_one_than_its_lake_s_is_refused() {
    let mut house = House::new();
    let rows = |house: &House, wanted: u64| {
        let wanted = json!([{ "n": wanted }]);
        until("rows", || ask(house.address(), "SELECT count(*) AS n FROM usage")["rows"] == wanted);
    };
    for number in 0..2 {
        house.start();
        house.commit(&[world::charged("acme", number, "alice", Some(100), 5)]);
        rows(&house, u64::from(number) + 1);
        house.stop();
    }
    let mut other = House::new();
    for number in 10..20 {
        other.commit(&[world::charged("acme", number, "alice", Some(100), 5)]);
    }
    let [own, others] = [&house, &other].map(|house| house.folder.path().join("lake"));
    std::fs::rename(&own, &others).unwrap();
    other.begin();
    let role = other.role.take().unwrap();
    let error = role.thread.join().unwrap().unwrap_err();
    assert!(matches!(error, RunError::Lake(Error::OtherLog { lane: Lane(0), offset: 1 })), "{error}");
    assert!(role.readiness.why_not().join("").starts_with("TG5009"), "{:?}", role.readiness.why_not());
    std::fs::rename(&others, &own).unwrap();
    house.start();
    rows(&house, 2);
    house.stop();
}

/// Nobody waits for a lake that may be away for hours, and nobody is told where it is.
#[test]
fn whoever_asks_is_told_while_the_lake_cannot_be_opened() {
    let mut house = House::new();
    let lake = house.folder.path().join("lake");
    std::fs::write(&lake, b"no directory").unwrap();
    house.begin();
    let readiness = house.role.as_ref().unwrap().readiness.clone();
    until("the error", || readiness.why_not().join("").starts_with("TG6005"));
    let question = request("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a"}"#);
    let (status, _, body) = http(house.address(), &question);
    assert!(status == 503 && body.contains("TG6005") && body.contains("try again"), "{status} {body}");
    assert!(!body.contains(lake.to_str().unwrap()), "{body}");
    let mut stream = TcpStream::connect(house.role.as_ref().unwrap().postgres).unwrap();
    stream.write_all(b"\0\0\0\x14\0\x03\0\0user\0alice\0\0").unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("57P03") && told.contains("TG6005"), "{told:?}");
    std::fs::remove_file(&lake).unwrap();
    until("readiness", || readiness.why_not().is_empty());
    assert_eq!(ask(house.address(), "SELECT 1 AS a")["rows"], json!([{ "a": 1 }]));
    house.stop();
}

#[test]
fn a_row_is_answered_once_however_the_cut_falls() {
    const ROUNDS: u32 = 60;
    const PER_ROUND: u32 = 20;
    let mut house = House::new();
    house.start();
    let address = house.address();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(SeqCst) || asked < 5 {
                check_cut(address);
                asked += 1;
            }
            asked
        });
        for round in 0..ROUNDS {
            let numbers = (round * PER_ROUND)..((round + 1) * PER_ROUND);
            let entries: Vec<_> =
                numbers.map(|number| world::charged("acme", number, "alice", Some(100), 1_000_000)).collect();
            house.commit(&entries);
            let since = Instant::now();
            let wanted = json!([{"n": (round + 1) * PER_ROUND}]);
            until("row", || ask(address, "SELECT count(*) AS n FROM usage")["rows"] == wanted);
            assert!(since.elapsed() < Duration::from_secs(5), "a row took {:?} to be in an answer", since.elapsed());
        }
        done.store(true, SeqCst);
        assert!(asking.join().unwrap() >= 5);
    });
    house.stop();
    house.start();
    assert_eq!(check_cut(house.address()), u64::from(ROUNDS * PER_ROUND));
    house.stop();
}

/// Every entry of the ledger so far is one attempt of 100 tokens for a millionth of a dollar: what an answer has to say
/// follows from the offsets that it names.
fn check_cut(address: SocketAddr) -> u64 {
    let sql = "SELECT (SELECT count(*) FROM usage) AS u, (SELECT count(DISTINCT call_id) FROM calls) AS c, \
               (SELECT coalesce(sum(input_tokens), 0) FROM usage) AS t, \
               (SELECT coalesce(sum(cost_usd), 0) * 1000000 = count(*) FROM charges) AS money";
    let answer = ask(address, sql);
    let n = answer["as_of"]["offsets"][0].as_u64().unwrap();
    assert_eq!(answer["rows"], json!([{"u": n, "c": n, "t": 100 * n, "money": true}]), "at {n}");
    n
}

/// Its rows are only in the ledger when the role begins: an answer has all of them, or is none.
#[test]
fn no_answer_is_given_before_the_ledger_is_read() {
    const ROWS: u32 = 2_000;
    let mut house = House::new();
    for number in 0..ROWS {
        house.commit(&[world::charged("acme", number, "alice", Some(100), 5)]);
    }
    for _ in 0..3 {
        house.begin();
        let question = request("POST", "/v1/sql", "tgq-acme", r#"{"sql":"SELECT count(*) AS n FROM usage"}"#);
        let mut refused = 0;
        loop {
            let (status, _, body) = http(house.address(), &question);
            if status == 200 {
                assert!(body.contains(&format!("\"n\":{ROWS}")), "{body} after {refused} refusals");
                break;
            }
            let is_told = ["TG5001", "TG6005"].iter().any(|code| body.contains(code));
            // Where opening took so long that callers were told, one may be cut off when it is done.
            let is_cut = status == 0 && body.is_empty();
            assert!(is_cut || status == 503 && is_told && body.contains("try again"), "{status} {body}");
            refused += 1;
        }
        house.stop();
    }
}

#[test]
fn the_surface_says_what_it_says() {
    let mut house = House::new();
    house.start();
    let address = house.address();
    house.commit(&[
        world::limits(0, &["acme"]),
        world::charged("acme", 1, "alice", Some(100), 5),
        world::balance("acme", 2, 5),
    ]);
    until("row", || ask(address, "SELECT count(*) AS n FROM usage")["rows"] == json!([{"n": 1}]));
    let check = |method: &str, path: &str, token: &str, body: &str, wanted: u16, part: &str| {
        let (status, head, text) = http(address, &request(method, path, token, body));
        assert_eq!(status, wanted, "{method} {path} {body}: {text}");
        assert!(text.contains(part) || head.contains(part), "{method} {path} {body}: {head} {text}");
    };
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a"}"#, 200, r#""rows":[{"a":1}]"#);
    check(
        "POST",
        "/v1/sql",
        "tgq-all",
        r#"{"sql":"SELECT 1 AS a"}"#,
        200,
        r#""columns":[{"name":"a","type":"BIGINT"}]"#,
    );
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a, 'x' AS b","format":"csv"}"#, 200, "a,b\n1,x\n");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a","format":"csv"}"#, 200, "x-tollgate-as-of: {");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a","format":"parquet"}"#, 200, "PAR1");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a","format":"arrow"}"#, 200, "arrow.stream");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELECT 1 AS a","format":"xml"}"#, 400, "TG3004");
    let set = |settings: &str| format!(r#"{{"sql":"EXPLAIN SELECT count(*) FROM usage","settings":{settings}}}"#);
    check("POST", "/v1/sql", "tgq-acme", &set(r#"{"tollgate.rollups":"on"}"#), 200, "value 0");
    check("POST", "/v1/sql", "tgq-acme", &set(r#"{"tollgate.rollups":"off"}"#), 200, "count(Int64(1))");
    check("POST", "/v1/sql", "tgq-all", &set(r#"{"tollgate.rollups":"maybe"}"#), 400, "TG3004");
    check("POST", "/v1/sql", "tgq-all", &set(r#"{"datafusion.x":"on"}"#), 400, "TG3004");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"SELEC 1"}"#, 400, "TG6002");
    check("POST", "/v1/sql", "tgq-all", r#"{"sql":"DROP TABLE usage"}"#, 400, "TG6001");
    check("POST", "/v1/sql", "tgq-all", "nonsense", 400, "TG3004");
    check("POST", "/v1/sql", "tgq-all", &"x".repeat(600_000), 413, "TG3007");
    check("POST", "/v1/sql", "tgq-wrong", r#"{"sql":"SELECT 1"}"#, 401, "TG6003");
    check("GET", "/v1/sql", "tgq-all", "", 405, "TG3010");
    check("GET", "/v1/nothing", "tgq-all", "", 404, "TG3009");
    check("GET", "/v1/tables", "tgq-all", "", 200, r#""name":"usage""#);
    check("HEAD", "/v1/tables", "tgq-all", "", 200, "200 ok");
    check("GET", "/v1/balances?tenant=acme", "tgq-acme", "", 200, r#""settled":"0.000000000005""#);
    check("GET", "/v1/balances?tenant=globex", "tgq-acme", "", 200, r#""rows":[]"#);
    check("GET", "/v1/balances?tenant=%27%20OR%201%3D1%20--", "tgq-all", "", 200, r#""rows":[]"#);
    check("GET", "/v1/balances", "tgq-none", "", 200, r#""rows":[]"#);
    check("GET", "/v1/balances?foo=1", "tgq-all", "", 400, "tenant");
    check("GET", "/v1/watermark", "tgq-none", "", 200, r#""complete_through":null"#);
    check("GET", "/v1/watermark", "tgq-all", "", 200, r#""offsets":[3]"#);
    for (path, body) in [("/v1/watermark", ""), ("/v1/tables", ""), ("/v1/sql", r#"{"sql":"SELECT 1","format":"csv"}"#)]
    {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let (status, head, text) = http(address, &request(method, path, "tgq-acme", body));
        assert_eq!((status, head.contains("offsets"), text.contains("offsets")), (200, false, false), "{path}: {text}");
    }
    let (status, head, _) = http(address, "GET /v1/watermark HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!((status, head.contains("www-authenticate: bearer")), (401, true));
    assert!(house.role.as_ref().unwrap().readiness.why_not().is_empty());
    house.stop();
}
