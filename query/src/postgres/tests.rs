//! Sessions over a pipe, by a client that keeps every byte: what is said on the wire leaves no trace of other tenants.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, BytesMut};
use schemas::policy::Tenants;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{BOUNDS, Cancels, session, setting::Settings, startup::Begin, within};
use crate::{
    entry::Entry,
    sql::tests::{
        hostile::{NOSY, mixed, own},
        world::World,
    },
};

mod asyncpg;
mod pgjdbc;
mod tools;

/// What clients look up, and what somebody might look up to learn of others.
const CATALOGS: &[&str] = &[
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT relname, reltuples, relpages FROM pg_class",
    "SELECT * FROM pg_attribute",
    "SELECT * FROM pg_description",
    "SELECT * FROM pg_roles",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_user_tables",
    "SELECT * FROM pg_settings",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM information_schema.table_privileges",
    "SELECT current_user, current_database(), version()",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> 0",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_relation_size(oid), pg_total_relation_size(oid) FROM pg_class",
    "SELECT current_setting('datafusion.runtime.memory_limit')",
    "SELECT user_id::regclass FROM usage",
    "SELECT user_id::oid FROM usage",
    "SELECT 'secret'::regclass",
    "SELECT to_regclass(concat(tenant, user_id)), format('%I.%L', tenant, user_id) FROM usage",
    "SELECT count(*) FROM usage WHERE tenant = ANY ('{globex,acme}')",
    "SELECT date_trunc('hour', time) AS hour, count(*) FROM usage GROUP BY 1",
    "SET datafusion.execution.target_partitions = 64",
    "SHOW ALL",
    "BEGIN",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY usage TO STDOUT",
    "COPY (SELECT * FROM usage) TO '/tmp/x'",
    "DECLARE c CURSOR FOR SELECT * FROM usage",
    "DO $$ BEGIN END $$",
    "LISTEN x",
    "VACUUM",
];

/// A client.
struct Client(DuplexStream);

impl Client {
    /// One who is let in with a token, and was greeted.
    async fn new(world: &World, token: &str) -> Self {
        let entry = Arc::new(Entry {
            engine: Arc::clone(&world.engine),
            cuts: Arc::clone(&world.cuts),
            access: Arc::clone(&world.access),
        });
        let (near, far) = tokio::io::duplex(64 << 10);
        let cancel = Arc::new(Cancels::default()).open(token).unwrap();
        let begin = Begin { token: token.into(), user: "alice".into(), settings: Settings::new("alice"), cancel };
        tokio::spawn(session::run(far, begin, entry, CancellationToken::new()));
        let mut client = Self(near);
        client.answer().await;
        client
    }

    async fn say(&mut self, kind: u8, body: &[u8]) {
        let mut message = BytesMut::new();
        message.put_u8(kind);
        message.put_u32(body.len() as u32 + 4);
        message.put_slice(body);
        self.0.write_all(&message).await.unwrap();
    }

    /// Everything up to the next time that something may be asked for.
    async fn answer(&mut self) -> Vec<u8> {
        self.until(b'Z').await
    }

    /// Everything up to a message of this kind.
    async fn until(&mut self, last: u8) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let kind = self.0.read_u8().await.unwrap();
            let length = self.0.read_u32().await.unwrap();
            let mut body = vec![0; length as usize - 4];
            self.0.read_exact(&mut body).await.unwrap();
            all.push(kind);
            all.extend_from_slice(&body);
            if kind == last {
                return all;
            }
        }
    }

    /// What is told of a statement of one parameter, and what it answers for a value of it, in text or in binary; the client says of what
    /// type that is, or leaves it to us.
    async fn bound(&mut self, (sql, oid): (&str, Option<u32>), format: i16, value: &[u8]) -> Vec<u8> {
        let types = oid.map_or_else(|| vec![0, 0], |oid| [&[0, 1][..], &oid.to_be_bytes()[..]].concat());
        self.say(b'P', &[&b"\0"[..], sql.as_bytes(), b"\0", &types].concat()).await;
        self.say(b'D', b"S\0").await;
        let length = (value.len() as u32).to_be_bytes();
        let bind = [&b"\0\0\0\x01"[..], &format.to_be_bytes()[..], &b"\0\x01"[..], &length[..], value, &b"\0\0"[..]];
        self.say(b'B', &bind.concat()).await;
        self.say(b'E', b"\0\0\0\0\0").await;
        self.say(b'S', b"").await;
        self.answer().await
    }

    async fn simple(&mut self, sql: &str) -> Vec<u8> {
        self.say(b'Q', &[sql.as_bytes(), b"\0"].concat()).await;
        self.answer().await
    }

    /// By the extended protocol, in binary, described both before and after it is bound.
    async fn extended(&mut self, sql: &str) -> Vec<u8> {
        self.say(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat()).await;
        self.say(b'D', b"S\0").await;
        self.say(b'B', b"\0\0\0\0\0\0\0\x01\0\x01").await;
        self.say(b'D', b"P\0").await;
        self.say(b'E', b"\0\0\0\0\0").await;
        self.say(b'S', b"").await;
        self.answer().await
    }
}

/// A connection that logs in with a token, and what it is told up to where it may ask something, or to its end.
async fn logged_in(address: std::net::SocketAddr, token: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\0\0\0\x14\0\x03\0\0user\0alice\0\0").await.unwrap();
    let mut password = vec![b'p'];
    password.extend_from_slice(&(token.len() as u32 + 5).to_be_bytes());
    password.extend_from_slice(token.as_bytes());
    password.push(0);
    stream.write_all(&password).await.unwrap();
    let mut told = String::new();
    while let Ok(kind) = stream.read_u8().await {
        let mut body = vec![0; stream.read_u32().await.unwrap() as usize - 4];
        stream.read_exact(&mut body).await.unwrap();
        told.push(char::from(kind));
        told.push_str(&String::from_utf8_lossy(&body));
        if kind == b'Z' {
            break;
        }
    }
    (stream, told)
}

/// In less time than they may be silent.
#[tokio::test(flavor = "multi_thread")]
async fn neither_one_tokens_sessions_nor_silent_connections_keep_others_out() {
    let world = World::new(&own(), 0).await;
    let entry =
        Entry { engine: Arc::clone(&world.engine), cuts: Arc::clone(&world.cuts), access: Arc::clone(&world.access) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (ending, bounds) = (end.clone(), listen::Bounds { connections: 132, ..BOUNDS });
    let served = tokio::spawn(async move { within(bounds, listener, None, Arc::new(entry), &ending).await });
    let mut sessions = Vec::new();
    for _ in 0..128 {
        let (stream, told) = logged_in(address, "tgq-acme").await;
        assert!(told.ends_with("ZI"), "{told:?}");
        sessions.push(stream);
    }
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let rest = async {
        let (_, told) = logged_in(address, "tgq-acme").await;
        assert!(told.contains("SFATAL") && told.contains("C53300") && !told.ends_with("ZI"), "{told:?}");
        let (_other, told) = logged_in(address, "tgq-all").await;
        assert!(told.ends_with("ZI"), "{told:?}");
        let mut cancel = TcpStream::connect(address).await.unwrap();
        cancel.write_all(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01").await.unwrap();
        assert_eq!(cancel.read(&mut [0]).await.unwrap(), 0);
    };
    tokio::time::timeout(listen::HEAD_TIMEOUT / 2, rest).await.unwrap();
    drop((sessions, silent));
    end.cancel();
    served.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_the_same_whether_or_not_others_exist() {
    let (own, mixed) = (own(), mixed());
    for shelve in [false, true] {
        let alone = World::new(&own, if shelve { own.len() - 1 } else { 0 }).await;
        let among = World::new(&mixed, if shelve { mixed.len() - 3 } else { 0 }).await;
        for sql in NOSY.iter().chain(CATALOGS) {
            let told = async |world: &World| {
                let mut client = Client::new(world, "tgq-acme").await;
                [client.simple(sql).await, client.extended(sql).await]
            };
            let (said, other) = tokio::join!(told(&alone), told(&among));
            assert_eq!(said, other, "{sql}, shelved {shelve}");
            for said in said {
                let text = String::from_utf8_lossy(&said);
                for secret in [".secret", "aaaa", "987654321", "000987", "123456789", "0.000000077", "root:"] {
                    assert!(!text.contains(secret) || sql.contains(secret), "{sql} shows {secret}: {text}");
                }
                assert!(!text.contains("XX000"), "{sql} fails inside: {text}");
            }
        }
    }
}

/// As asyncpg prepares: what went wrong is read before `Sync` is said.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_sent_without_a_sync() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    for sql in ["SELECT nope FROM usage", "SELECT $1::uuid", "nope"] {
        client.say(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat()).await;
        client.say(b'D', b"S\0").await;
        client.say(b'H', b"").await;
        let said = tokio::time::timeout(Duration::from_secs(20), client.until(b'E')).await;
        assert!(said.is_ok(), "{sql}");
        client.say(b'S', b"").await;
        assert_eq!(client.answer().await, b"ZI", "{sql}");
    }
}

/// Whatever is behind it, and however its client sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_is_refused_in_words() {
    let world = World::new(&own(), 0).await;
    for (kind, bytes, state) in [(b'Q', 1_100_000, "C54000"), (b'B', 700_000, "C54000"), (b'B', 3, "C08P01")] {
        let mut client = Client::new(&world, "tgq-acme").await;
        client.say(kind, &vec![b'1'; bytes]).await;
        let _ = client.0.write_all(b"S\0\0\0\x04").await;
        let mut said = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), client.0.read_to_end(&mut said)).await;
        assert!(read.is_ok(), "{bytes}");
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(text.starts_with('E') && text.contains("FATAL") && text.contains(state), "{bytes}: {text:?}");
    }
}

/// Beside an instant it is no instant, whatever comes in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_time_is_a_parameter() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let sql = "SELECT timestamptz '2026-11-02 00:00:00Z' - $1 AS begun";
    let binary = [&0_i64.to_be_bytes()[..], &1_i32.to_be_bytes()[..], &0_i32.to_be_bytes()[..]].concat();
    for (format, value) in [(0_i16, &b"1 day 0:00:00"[..]), (1, &binary[..])] {
        let parse = [&b"\0"[..], sql.as_bytes(), &b"\0\0\x01"[..], &1_186_u32.to_be_bytes()[..]];
        client.say(b'P', &parse.concat()).await;
        let length = (value.len() as u32).to_be_bytes();
        let bind = [&b"\0\0\0\x01"[..], &format.to_be_bytes()[..], &b"\0\x01"[..], &length[..], value, &b"\0\0"[..]];
        client.say(b'B', &bind.concat()).await;
        client.say(b'E', b"\0\0\0\0\0").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains("2026-11-01 00:00:00+00"), "{format}: {text:?}");
    }
}

/// In the forms that drivers write, in the session's zone where they name none; a view is of UTC.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_text_is_a_parameter() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let mut ask = async |set: &str, sql: &str, oid: u32, format: i16, value: &[u8]| {
        client.simple(set).await;
        let parse = [&b"\0"[..], sql.as_bytes(), &b"\0\0\x01"[..], &oid.to_be_bytes()[..]];
        client.say(b'P', &parse.concat()).await;
        let length = (value.len() as u32).to_be_bytes();
        let bind = [&b"\0\0\0\x01"[..], &format.to_be_bytes()[..], &b"\0\x01"[..], &length[..], value, &b"\0\0"[..]];
        client.say(b'B', &bind.concat()).await;
        client.say(b'E', b"\0\0\0\0\0").await;
        client.say(b'S', b"").await;
        String::from_utf8_lossy(&client.answer().await).into_owned()
    };
    let usage = "SELECT concat('=', count(*)) FROM usage WHERE time >= $1";
    let day = "SELECT concat('=', count(*)) FROM usage WHERE time >= $1 AND time < $1 + interval '1 day'";
    let view = "SELECT concat('=', count(DISTINCT day)) FROM daily_spend WHERE day >= $1";
    // What clocks show at nine, in microseconds since 2000.
    let nine = 846_838_800_000_000_i64.to_be_bytes();
    let (utc, tokyo) = ("SET TIME ZONE 'UTC'", "SET TIME ZONE 'Asia/Tokyo'");
    for (set, sql, oid, format, value, wanted) in [
        (utc, usage, 1_184, 0, &b"2026-11-01 00:00"[..], "=3"),
        (utc, day, 1_184, 0, &b"2026-11-01 00:00"[..], "=3"),
        (utc, day, 1_114, 0, &b"2026-11-01 00:00"[..], "=3"),
        (utc, day, 1_184, 0, &b"2026-10-30 00:00"[..], "=0"),
        (utc, usage, 0, 0, &b"2026-11-01"[..], "=3"),
        (utc, usage, 1_114, 0, &b"2026-11-01T00:00"[..], "=3"),
        (utc, usage, 0, 0, &b"2026-11-01 10:00+00"[..], "=0"),
        (utc, usage, 0, 0, &b"2026-11-01 02:00:00.5+02:30"[..], "=3"),
        (utc, usage, 0, 0, &b"2026-11-01 25:00"[..], "C22P02"),
        (tokyo, usage, 0, 0, &b"2026-11-01 09:00"[..], "=3"),
        (tokyo, usage, 0, 0, &b"2026-11-01 10:00"[..], "=0"),
        (tokyo, usage, 0, 0, &b"2026-11-01 00:00Z"[..], "=3"),
        (tokyo, usage, 1_114, 1, &nine[..], "=3"),
        (tokyo, day, 1_114, 1, &nine[..], "=3"),
        (tokyo, day, 1_114, 0, &b"2026-11-01 10:00"[..], "=0"),
        (tokyo, view, 0, 0, &b"2026-11-01"[..], "=1"),
        (tokyo, view, 0, 0, &b"2026-11-01 09:00"[..], "=0"),
    ] {
        let text = ask(set, sql, oid, format, value).await;
        assert!(text.contains(wanted), "{set} {sql} {oid} {format} {:?}: {text:?}", String::from_utf8_lossy(value));
    }
}

/// As asyncpg sends it, who was told its type; one that a client gave a type of its own keeps that until it is cast.
#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_cast_is_a_value_of_that_type() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    client.simple("SET TIME ZONE 'Asia/Tokyo'").await;
    // In Tokyo it is the first of November, in UTC the day before; in microseconds and in days since 2000.
    let instant = 846_802_800_000_000_i64.to_be_bytes();
    let day = 9_801_i32.to_be_bytes();
    let span = [&0_i64.to_be_bytes()[..], &1_i32.to_be_bytes()[..], &0_i32.to_be_bytes()[..]].concat();
    for (condition, oid, told, format, value) in [
        ("input_tokens > $1::integer - 1000", 0, 23_u32, 1_i16, &4_i32.to_be_bytes()[..]),
        ("$1::int = 4", 0, 23, 0, &b"4"[..]),
        ("(SELECT $1::int WHERE false) IS NULL", 0, 23, 0, &b"4"[..]),
        ("$1::int = 4", 1_700, 1_700, 0, &b"3.5"[..]),
        ("$1::int = 4", 701, 701, 1, &3.5_f64.to_be_bytes()[..]),
        ("$1::date = date '2026-11-01'", 0, 1_082, 1, &day[..]),
        ("$1::date = date '2026-11-01'", 1_184, 1_184, 1, &instant[..]),
        ("$1::timestamptz = timestamptz '2026-10-31 23:00Z'", 0, 1_184, 1, &instant[..]),
        ("$1::timestamptz = timestamptz '2026-10-31 23:00Z'", 0, 1_184, 0, &b"2026-11-01 08:00"[..]),
        ("$1::timestamp = timestamp '2026-11-01 08:00:00'", 1_184, 1_184, 1, &instant[..]),
        ("$1::interval = interval '26 hours'", 0, 1_186, 0, &b"1 day 02:00:00"[..]),
        ("$1 BETWEEN 1 AND 5", 0, 20, 1, &4_i64.to_be_bytes()[..]),
        ("CASE WHEN $1 THEN true ELSE false END", 0, 16, 1, &[1][..]),
        ("time + $1 > timestamptz '2026-11-01 23:00Z'", 0, 1_186, 0, &b"1 day"[..]),
        ("$1 + time > timestamptz '2026-11-01 23:00Z'", 0, 1_186, 1, &span[..]),
        ("interval '1 day' * $1 = interval '36 hours'", 0, 701, 0, &b"1.5"[..]),
        // At nine o'clock.
        ("floor(extract(hour FROM time) / $1) * $1 = 5", 0, 1_700, 0, &b"5"[..]),
        ("extract(hour FROM time) / $1 > 17 AND cost_usd * $1 < 1 AND cost_usd < $1", 0, 1_700, 0, &b"0.5"[..]),
        ("mod(extract(hour FROM time), $1) = 4", 0, 1_700, 0, &b"5"[..]),
        ("mod($1, 5) = 4", 0, 20, 1, &9_i64.to_be_bytes()[..]),
        ("round(extract(hour FROM time) / 7, $1) = 1.29", 0, 23, 0, &b"2"[..]),
        ("round(extract(hour FROM time) / 7, $1) = 1.29", 21, 21, 1, &2_i16.to_be_bytes()[..]),
        ("substring('foobar', $1, 3) = 'oba'", 21, 21, 1, &3_i16.to_be_bytes()[..]),
        ("substring('foobar', $1, 3) = 'oba'", 0, 20, 0, &b"3"[..]),
        ("left('foobar', $1) = 'foo'", 0, 20, 1, &3_i64.to_be_bytes()[..]),
        // It is of the first type that it stands beside.
        ("cost_usd < $1 AND input_tokens > $1", 0, 1_700, 0, &b"0.5"[..]),
        ("time - timestamptz '2026-10-30 00:00Z' > $1", 0, 1_186, 1, &span[..]),
        ("extract(hour FROM timezone($1, time)) = 1", 0, 25, 0, &b"Europe/Berlin"[..]),
        ("extract(hour FROM time AT TIME ZONE $1) = 1", 0, 25, 0, &b"Europe/Berlin"[..]),
        ("date_trunc('day', time, $1) = timestamptz '2026-10-31 23:00Z'", 0, 25, 0, &b"Europe/Berlin"[..]),
        ("coalesce(cost_usd, $1) < 1", 0, 1_700, 0, &b"0.5"[..]),
        ("make_date(2026, $1, 1) = date '2026-11-01'", 0, 23, 1, &11_i32.to_be_bytes()[..]),
        ("(SELECT count(*) FROM generate_series(1, $1) n) = 4", 0, 20, 0, &b"4"[..]),
        ("(SELECT count(*) FROM generate_series(1, $1::int) n) = 4", 0, 23, 1, &4_i32.to_be_bytes()[..]),
        (
            "(SELECT count(*) FROM generate_series(timestamptz '2026-11-01 00:00Z', $1, interval '1 day') n) = 3",
            0,
            1_184,
            0,
            &b"2026-11-03 00:00Z"[..],
        ),
        (
            "(SELECT count(*) FROM generate_series($1, timestamptz '2026-11-03 00:00Z', '1 day') n) = 3",
            1_184,
            1_184,
            1,
            &instant[..],
        ),
        (
            "(SELECT max(n) FROM generate_series('2026-11-01'::timestamp, '2026-11-02', $1) n) = '2026-11-01 20:00'",
            0,
            1_186,
            0,
            &b"10:00"[..],
        ),
        ("make_timestamp(2026, $1, 1, 0, 0, 0) = timestamp '2026-11-01 00:00:00'", 0, 23, 0, &b"11"[..]),
        ("date($1) = date '2026-11-01'", 0, 1_082, 1, &day[..]),
        ("abs($1) = 4.5", 0, 701, 0, &b"-4.5"[..]),
        ("trunc(extract(hour FROM time) / 7, $1) = 1.28", 0, 23, 0, &b"2"[..]),
        ("power($1, 2) = 9", 0, 701, 1, &3.0_f64.to_be_bytes()[..]),
        ("log(2, $1) = 3", 0, 1_700, 0, &b"8"[..]),
        ("chr($1) = 'A'", 0, 23, 1, &65_i32.to_be_bytes()[..]),
        ("width_bucket(5, 0, 10, $1) = 3", 0, 23, 0, &b"4"[..]),
        (
            "(SELECT max(n) FROM (SELECT ntile($1) OVER (ORDER BY call_id) AS n FROM usage) t) = 2",
            0,
            23,
            1,
            &2_i32.to_be_bytes()[..],
        ),
    ] {
        let sql = format!("SELECT concat('=', count(*)) FROM usage WHERE {condition}");
        let said = client.bound((&sql, Some(oid)), format, value).await;
        let described = [&b"t\0\x01"[..], &told.to_be_bytes()[..]].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(said.windows(described.len()).any(|part| part == described), "{condition} {oid}: {text:?}");
        assert!(text.contains("=3"), "{condition} {oid} {format} {value:?}: {text:?}");
    }
}

/// As asyncpg does before it looks up a type that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn jit_is_put_by_a_function_as_well() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let put = client.simple("SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new").await;
    let text = String::from_utf8_lossy(&put).into_owned();
    assert!(text.matches("off").count() == 2 && text.contains("SELECT 1"), "{text:?}");
    let other = client.simple("SELECT set_config('search_path', 'x', false)").await;
    let text = String::from_utf8_lossy(&other).into_owned();
    assert!(!text.contains("SELECT 1") && text.contains("set_config"), "{text:?}");
}

/// Over asyncpg SQLAlchemy makes parameters of the constants in its questions about tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_of_what_no_catalog_has_is_told_and_taken() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    for (asked, told, value) in [
        ("generate_subscripts(indkey, $1::integer) FROM pg_index", 23_u32, &1_i32.to_be_bytes()[..]),
        ("pg_get_constraintdef(oid, $1::boolean) FROM pg_catalog.pg_constraint", 16, &[1][..]),
        ("ARRAY(SELECT attnum FROM pg_attribute WHERE attnum > $1::int) FROM pg_class", 23, &1_i32.to_be_bytes()[..]),
    ] {
        let sql = format!("SELECT {asked}");
        let said = client.bound((&sql, None), 1, value).await;
        let described = [&b"t\0\x01"[..], &told.to_be_bytes()[..]].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(said.windows(described.len()).any(|part| part == described), "{asked}: {text:?}");
        assert!(text.contains("SELECT "), "{asked}: {text:?}");
    }
}

/// What SQLAlchemy and others make of `.in_()` and of a list that is given to a driver.
#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_a_parameter_that_is_compared_with() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let mut ask = async |condition: &str, oid: u32, format: i16, value: Option<&[u8]>| {
        let sql = format!("SELECT concat('=', count(*)) AS n FROM usage WHERE {condition}");
        let parse = [&b"\0"[..], sql.as_bytes(), &b"\0\0\x01"[..], &oid.to_be_bytes()[..]];
        client.say(b'P', &parse.concat()).await;
        client.say(b'D', b"S\0").await;
        let length = value.map_or(-1, |value| value.len() as i32).to_be_bytes();
        let value = value.unwrap_or_default();
        let bind = [&b"\0\0\0\x01"[..], &format.to_be_bytes()[..], &b"\0\x01"[..], &length[..], value, &b"\0\0"[..]];
        client.say(b'B', &bind.concat()).await;
        client.say(b'E', b"\0\0\0\0\0").await;
        client.say(b'S', b"").await;
        String::from_utf8_lossy(&client.answer().await).into_owned()
    };
    let mut binary = [1_u32, 0, 25, 2, 1, 4].map(u32::to_be_bytes).concat();
    binary.extend(*b"acme");
    binary.extend(0_u32.to_be_bytes());
    let many = format!("{{{}}}", vec!["200"; 201].join(","));
    for (condition, oid, format, value, wanted) in [
        ("tenant = ANY($1)", 1_009, 0, Some(&b"{acme,other}"[..]), "=3"),
        ("tenant = any ($1::text[])", 0, 0, Some(&b"{other,acme}"[..]), "=3"),
        ("tenant = ANY($1)", 1_015, 1, Some(&binary[..]), "=3"),
        ("tenant = ANY($1)", 0, 1, Some(&binary[..]), "=3"),
        ("tenant = ANY($1)", 1_009, 0, Some(&b"{}"[..]), "=0"),
        ("tenant <> ALL($1)", 1_009, 0, Some(&b"{}"[..]), "=3"),
        ("tenant <> ALL($1)", 1_009, 0, Some(&b"{acme}"[..]), "=0"),
        ("tenant = ANY($1)", 1_009, 0, None, "=0"),
        ("($1::text[] IS NULL OR tenant = ANY($1))", 1_009, 0, Some(&b"{other}"[..]), "=0"),
        ("($1::text[] IS NULL OR tenant = ANY($1))", 1_009, 0, None, "=3"),
        ("status = ANY($1)", 1_007, 0, Some(&b"{200,201}"[..]), "=3"),
        ("status = ANY($1::bigint[])", 1_022, 0, Some(&b"{200.4}"[..]), "=3"),
        ("status <> ALL($1::bigint[])", 1_231, 0, Some(&b"{199.5}"[..]), "=0"),
        ("status = ANY($1::date[])", 1_185, 0, Some(&b"{2026-11-01 00:00Z}"[..]), "C22P02"),
        ("status = ANY(ARRAY[200.4, 1]::int[]) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("status = ANY('{200.4}'::int[]) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "ERROR"),
        ("0.01 = ANY($1::numeric(10,2)[])", 0, 0, Some(&b"{NULL,0.011}"[..]), "=3"),
        ("0.011 = ANY($1::numeric(10,2)[])", 1_231, 0, Some(&b"{0.011}"[..]), "=0"),
        ("0.01 <> ALL(CAST($1 AS numeric(10,2)[]))", 1_022, 0, Some(&b"{0.011}"[..]), "=0"),
        ("tenant = ANY($1::varchar(4)[])", 1_009, 0, Some(&b"{acmes}"[..]), "=3"),
        ("tenant = ANY('{acmes}'::varchar(4)[]) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant LIKE ANY($1::varchar(3)[])", 1_009, 0, Some(&b"{ac%x}"[..]), "=3"),
        (
            "timestamp '2026-01-01 00:00:01' = ANY($1::timestamp(0)[])",
            0,
            0,
            Some(&br#"{"2026-01-01 00:00:00.6"}"#[..]),
            "=3",
        ),
        ("status >= ANY($1)", 1_016, 0, Some(&b"{300,200}"[..]), "=3"),
        ("status >= ANY($1)", 1_016, 0, Some(many.as_bytes()), "C0A000"),
        ("status >= ANY($1)", 1_016, 0, Some(many.as_bytes()), "may compare with 200 elements; this one has 201"),
        ("status > ALL($1::bigint[])", 1_016, 0, Some(&b"{200,100}"[..]), "=0"),
        ("status > ALL($1)", 1_016, 0, Some(&b"{}"[..]), "=3"),
        ("NOT status < ANY($1)", 1_016, 0, Some(&b"{}"[..]), "=3"),
        ("time >= any($1::timestamptz[])", 1_185, 0, Some(&br#"{"2026-11-01 00:00Z","2030-01-01 00:00Z"}"#[..]), "=3"),
        ("tenant LIKE ANY($1)", 1_009, 0, Some(&b"{x%,ac%}"[..]), "=3"),
        ("tenant NOT ILIKE any($1)", 1_009, 0, Some(&b"{AC%}"[..]), "=0"),
        ("tenant LIKE ANY(ARRAY['x%', 'ac%']) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant LIKE ALL($1)", 1_009, 0, Some(&b"{a%,%e}"[..]), "=3"),
        ("tenant LIKE ALL($1)", 1_009, 0, Some(&b"{a%,x%}"[..]), "=0"),
        ("tenant NOT ILIKE ALL ($1)", 1_009, 0, Some(&b"{X%,Y%}"[..]), "=3"),
        ("tenant NOT LIKE ALL (ARRAY['x%', 'ac%']) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=0"),
        ("tenant NOT LIKE ANY ('{x%,ac%}') AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant ILIKE SOME (ARRAY['x%', 'AC%']) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("'a' = ANY($1::char[])", 0, 0, Some(&b"{acme}"[..]), "=3"),
        ("'acme' = ANY(ARRAY['acme']::char[]) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=0"),
        ("'ac' = ANY('{acme}'::pg_catalog.varchar(2)[]) AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant::pg_catalog.varchar(2) = 'ac' AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant::pg_catalog.bpchar(2) = 'ac' AND tenant = ANY($1)", 1_009, 0, Some(&b"{acme}"[..]), "=3"),
        ("tenant = ANY($1)", 1_009, 0, Some(&b"acme"[..]), "C22P02"),
        ("tenant = $1", 1_009, 0, Some(&b"{acme}"[..]), "C0A000"),
    ] {
        let text = ask(condition, oid, format, value).await;
        assert!(text.contains(wanted), "{condition} {oid} {format} {value:?}: {text:?}");
    }
    // What has no type is described as an array of what it is compared with.
    let described = ask("status = ANY($1)", 0, 0, Some(&b"{200}"[..])).await;
    // 1,007 or 1,016, whose last byte is no letter.
    assert!(described.contains("=3") && described.contains("t\0\x01\0\0\x03\u{fffd}"), "{described:?}");
}

/// As psql and psycopg2 take them by statements, psycopg by the extended protocol, and JDBC by portals.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_taken_a_few_at_a_time() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let declare = "DECLARE c NO SCROLL CURSOR FOR SELECT input_tokens FROM usage";
    let begin = format!("BEGIN; {declare}");
    let twice = format!("ROLLBACK; {begin}; {declare}");
    let over = format!("ROLLBACK; {begin}; COMMIT; BEGIN; FETCH c");
    for (sql, wanted) in [
        (declare, "C25P01"),
        (begin.as_str(), "DECLARE CURSOR\0ZT"),
        ("FETCH FORWARD 2 FROM c", "FETCH 2\0ZT"),
        ("FETCH ALL IN c", "FETCH 1\0ZT"),
        ("FETCH c", "FETCH 0\0ZT"),
        ("CLOSE c", "CLOSE CURSOR\0ZT"),
        ("FETCH c", "C34000"),
        (declare, "C25P02"),
        ("ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT nothing FROM usage", "C42703"),
        (twice.as_str(), "C42P03"),
        (over.as_str(), "C34000"),
        ("ROLLBACK; BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1", "C0A000"),
    ] {
        let text = String::from_utf8_lossy(&client.simple(sql).await).into_owned();
        assert!(text.contains(wanted), "{sql}: {text:?}");
    }
    client.simple("ROLLBACK; BEGIN").await;
    for (number, wanted) in [(1, "ZT"), (2, "ZT"), (3, "ZT"), (4, "C54000")] {
        let said = client.simple(&format!("DECLARE c{number} CURSOR FOR SELECT 1; FETCH c{number}")).await;
        assert!(String::from_utf8_lossy(&said).contains(wanted), "{number}: {said:?}");
    }
    client.simple("ROLLBACK; BEGIN").await;

    let declare = "DECLARE c CURSOR FOR SELECT input_tokens AS n FROM usage WHERE input_tokens >= $1";
    client.say(b'P', &[b"\0", declare.as_bytes(), b"\0\0\x01\0\0\0\x14"].concat()).await;
    client.say(b'B', b"\0\0\0\0\0\x01\0\0\0\x03200\0\x01\0\0").await;
    client.say(b'D', b"P\0").await;
    client.say(b'E', b"\0\0\0\0\0").await;
    client.say(b'S', b"").await;
    let said = client.answer().await;
    assert!(said.ends_with(b"nCDECLARE CURSOR\0ZT"), "{said:?}");
    client.say(b'D', b"Pc\0").await;
    client.say(b'S', b"").await;
    let said = client.answer().await;
    assert!(said.starts_with(b"T\0\x01n\0"), "{said:?}");
    for (format, wanted) in [(1_u8, &b"FETCH 1\0ZT"[..]), (1, &b"FETCH 1\0ZT"[..]), (0, &b"ZE"[..])] {
        client.say(b'P', b"\0FETCH FORWARD 1 FROM c\0\0\0").await;
        client.say(b'B', &[&b"\0\0\0\0\0\0\0\x01\0"[..], &[format][..]].concat()).await;
        client.say(b'D', b"P\0").await;
        client.say(b'E', b"\0\0\0\0\0").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        assert!(said.ends_with(wanted), "{format}: {said:?}");
        // In binary.
        assert!(format == 0 || said.windows(12).any(|part| part.starts_with(b"\0\0\0\x08\0\0\0\0\0\0")), "{said:?}");
    }
    client.simple("ROLLBACK; BEGIN").await;

    client.say(b'P', b"\0SELECT input_tokens FROM usage\0\0\0").await;
    client.say(b'B', b"p\0\0\0\0\0\0\0\0").await;
    for wanted in [&b"sZT"[..], &b"SELECT 3\0ZT"[..]] {
        client.say(b'E', b"p\0\0\0\0\x02").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        assert!(said.ends_with(wanted), "{said:?}");
    }
}

/// What is open gives no row more once the access is gone, or is narrower than what was asked; a policy that leaves it changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_portals_end_with_the_access_that_they_were_opened_by() {
    let world = World::new(&mixed(), 0).await;
    let acme = Tenants::Only(vec!["acme".into()]);
    for left in [vec![], vec![("tgq-all", acme.clone())]] {
        world.grants(&[("tgq-all", Tenants::All)]);
        let mut client = Client::new(&world, "tgq-all").await;
        let begun = "BEGIN; DECLARE c CURSOR FOR SELECT input_tokens FROM usage; FETCH 1 FROM c";
        let said = client.simple(begun).await;
        assert!(said.ends_with(b"FETCH 1\0ZT"), "{said:?}");
        world.grants(&[("tgq-all", Tenants::All), ("new", acme.clone())]);
        let said = client.simple("FETCH 1 FROM c").await;
        assert!(said.ends_with(b"FETCH 1\0ZT"), "{said:?}");
        client.say(b'P', b"\0SELECT input_tokens FROM usage\0\0\0").await;
        client.say(b'B', b"p\0\0\0\0\0\0\0\0").await;
        client.say(b'E', b"p\0\0\0\0\x01").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        assert!(said.ends_with(b"sZT"), "{said:?}");
        world.grants(&left);
        client.say(b'E', b"p\0\0\0\0\x01").await;
        client.say(b'S', b"").await;
        let said = client.answer().await;
        let text = String::from_utf8_lossy(&said);
        assert!(text.starts_with('E') && text.contains("C42501") && text.contains("TG6003"), "{text:?}");
        let said = client.simple("FETCH 1 FROM c").await;
        assert!(String::from_utf8_lossy(&said).contains("C25P02"), "{said:?}");
    }
    // The same for a cursor.
    world.grants(&[("tgq-all", Tenants::All)]);
    let mut client = Client::new(&world, "tgq-all").await;
    client.simple("BEGIN; DECLARE c CURSOR FOR SELECT input_tokens FROM usage; FETCH 1 FROM c").await;
    world.grants(&[]);
    let said = client.simple("FETCH 1 FROM c").await;
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("C42501") && text.contains("TG6003") && !text.contains("FETCH 1"), "{text:?}");
}

/// What may be done and what may not, by the state that it ends with.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_queries_and_settings_is_allowed() {
    let world = World::new(&own(), 0).await;
    let mut client = Client::new(&world, "tgq-acme").await;
    let check = async |client: &mut Client, sql: &str, wanted: &str| {
        let said = client.simple(sql).await;
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(text.contains(wanted), "{sql}: {text:?}");
    };
    for refused in ["COPY usage TO STDOUT", "CREATE TABLE t (a int)", "DROP TABLE usage", "INSERT INTO usage SELECT 1"]
    {
        check(&mut client, refused, "C0A000").await;
    }
    for (sql, state) in [
        ("SELEC 1", "C42601"),
        ("SELECT 1 FROM nothing", "C42P01"),
        ("SELECT nothing FROM usage", "C42703"),
        ("SELECT 1/0", "C22012"),
        ("SELECT nothing(1)", "C42883"),
        ("SELECT CAST(user_id AS BIGINT) FROM usage", "C22P02"),
        ("SELECT repeat('x', 4000000000)", "C0A000"),
        ("SET nothing = 1", "C42704"),
        ("SET session_authorization = 'root'", "C22023"),
        // What is written several times has to be short.
        ("SELECT quote_ident(quote_ident(user_id)) FROM usage", "C42883"),
    ] {
        check(&mut client, sql, state).await;
    }
    check(&mut client, "SET TimeZone = 'Asia/Tokyo'; SHOW TimeZone", "Asia/Tokyo").await;
    check(&mut client, "SELECT date_trunc('day', time) AS day FROM usage LIMIT 1", "2026-11-01 00:00:00+09").await;
    // The first of November begins there nine hours before it does in UTC, wherever it is written.
    for (condition, wanted) in [
        ("time >= '2026-11-01' AND time < '2026-11-02'", "=3"),
        ("time >= '2026-11-01 09:00' AND time < '2026-11-01 10:00'", "=3"),
        ("time < '2026-11-01 09:00'", "=0"),
        ("time < '2026-11-01T00:00:00Z'", "=0"),
        ("time >= date '2026-11-01' AND time < date '2026-11-02'", "=3"),
        ("time >= timestamp '2026-11-01 09:00'", "=3"),
        ("date_trunc('day', time) = date '2026-11-01'", "=3"),
        ("date_trunc('day', time) = '2026-11-01'", "=3"),
        ("time::date = '2026-11-01'", "=3"),
        ("tenant = ANY (string_to_array('acme,birch', ','))", "=3"),
        ("tenant <> ALL (string_to_array('', ','))", "=3"),
        ("date_trunc('day', time) <> CAST(time AS date)", "=0"),
        ("to_char(time, 'YYYY-MM-DD HH24') = '2026-11-01 09'", "=3"),
    ] {
        check(&mut client, &format!("SELECT concat('=', count(*)) FROM usage WHERE {condition}"), wanted).await;
    }
    // Text of a time is what is shown of it.
    for (text, wanted) in [
        ("time::text", "2026-11-01 09:00:01+09"),
        ("time || '!'", "2026-11-01 09:00:01+09!"),
        ("concat('=', date_trunc('day', time))", "=2026-11-01 00:00:00+09"),
        ("(time AT TIME ZONE 'Europe/Berlin') || '!'", "2026-11-01 01:00:01!"),
        ("CAST(timestamp '2026-11-01 10:00:00.250' AS varchar) || '!'", "2026-11-01 10:00:00.25!"),
        ("(interval '40 days 3.5 seconds')::text", "40 days 00:00:03.5C"),
        ("concat('=', interval '14 months')", "=1 year 2 monsC"),
        ("'\\x00fF'::bytea", "\\x00ffC"),
        ("'\\x00fF'::bytea::text || '!'", "\\x00ff!"),
        ("'a\\000'::bytea", "\\x6100C"),
        ("CAST(CAST(tenant AS bytea) AS text)", "\\x61636d65C"),
        ("'\\x0'::bytea", "C22P02"),
    ] {
        check(&mut client, &format!("SELECT {text} FROM usage LIMIT 1"), wanted).await;
    }
    let days = "generate_series(timestamp '2026-11-01', timestamp '2026-11-03', interval '1 day') AS day";
    let series =
        format!("SELECT string_agg(to_char(day, 'DD'), '-' ORDER BY day) FROM {days} WHERE day > '2026-11-01'");
    check(&mut client, &series, "02-03").await;
    check(&mut client, "SELECT concat('=', sum(n)) FROM generate_series(1, 10, 3) AS n", "=22").await;
    for (call, wanted) in [
        ("md5(tenant)", "53bce4f1dfa0fe8e7ca126f91b35d3a6"),
        ("age(time, '2026-10-01 09:00')", "1 mon 00:00:01"),
        ("age('2026-11-02', time)", "14:59:59"),
        ("concat('=', width_bucket(input_tokens, 0, 1000, 10))", "=2"),
    ] {
        check(&mut client, &format!("SELECT {call} FROM usage LIMIT 1"), wanted).await;
    }
    check(&mut client, "SELECT day || '!' FROM daily_spend LIMIT 1", "2026-11-01 00:00:00+00!").await;
    // A view's day is that of UTC.
    check(&mut client, "SELECT day FROM daily_spend LIMIT 1", "2026-11-01 09:00:00+09").await;
    let focus = "SELECT BillingPeriodStart FROM focus LIMIT 1";
    check(&mut client, focus, "2026-11-01 09:00:00+09").await;
    for name in ["usage", "daily_spend", "focus", "commitments", "watermark"] {
        let wanted = format!("{name}!");
        let sql = format!("SELECT concat(relname, '!') FROM pg_class WHERE oid = '{name}'::regclass");
        check(&mut client, &sql, &wanted).await;
    }
    for view in [
        "SELECT concat('=', pg_get_viewdef('daily_spend'::regclass, true))",
        "SELECT concat('=', pg_catalog.pg_get_viewdef(c.oid)) FROM pg_catalog.pg_class c WHERE c.relname = 'daily_spend'",
        "SELECT concat('=', pg_get_viewdef('public.daily_spend'))",
    ] {
        check(&mut client, view, "=SELECT date_trunc('day', time) AS day").await;
    }
    check(&mut client, "SELECT pg_get_viewdef('focus'::regclass)", "BilledCost").await;
    check(&mut client, "SELECT concat('=', coalesce(pg_get_viewdef('usage'::regclass), 'none'))", "=none").await;
    check(&mut client, "BEGIN; SELECT 1", "SELECT 1\0ZT").await;
    check(&mut client, "SELECT 1/0", "ZE").await;
    check(&mut client, "SELECT 1", "C25P02").await;
    check(&mut client, "ROLLBACK TO SAVEPOINT a; SELECT 1", "SELECT 1\0ZT").await;
    check(&mut client, "ROLLBACK", "ROLLBACK\0ZI").await;
    check(&mut client, "", "IZI").await;
    check(&mut client, "SELECT 1, 1", "?column?_2\0").await;
    check(&mut client, "SELECT exists(SELECT 1), exists(SELECT 1)", "exists_2\0").await;
    check(&mut client, "SELECT tenant, tenant FROM usage", "tenant_2\0").await;
    check(&mut client, "SELECT array_agg(tenant) FROM usage, pg_namespace", "C42883").await;
    check(&mut client, "SELECT pg_size_pretty(sum(output_tokens)) FROM usage", "C42883").await;
    check(&mut client, "SELECT 1; SELECT 2", "SELECT 1\0").await;
}
