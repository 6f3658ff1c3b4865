//! Where things are kept: the log, the lake, and the addresses that are listened on.
//!
//! Paths are as written. Nothing here looks whether a directory, a broker or a bucket exists.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    reader::{Fields, Reader, shown},
    tls::{self, Tls},
    yaml::{Node, Value},
};
use crate::error_code::ErrorCode;

/// The addresses that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For calls.
    pub gateway: SocketAddr,
    /// For questions over HTTP.
    pub query: SocketAddr,
    /// For questions over the protocol of Postgres; nothing if nobody may ask so.
    pub postgres: Option<SocketAddr>,
    /// For questions over Arrow Flight SQL; nothing if nobody may ask so.
    pub flight: Option<SocketAddr>,
    /// For health and metrics.
    pub ops: SocketAddr,
    /// For those who change the policy while it is in force; nothing if nobody may.
    pub admin: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { gateway: local(8080), query: local(8081), postgres: None, flight: None, ops: local(9090), admin: None }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The embedded one: one process with every role.
    Disk {
        /// Its directory.
        dir: PathBuf,
        /// When records reach the platter.
        fsync: Fsync,
        /// How long entries of the ledger are kept once the lake has them; nothing for ever.
        keep: Option<Duration>,
    },
    /// On Kafka.
    Kafka(Kafka),
}

/// When the records of a journal reach the platter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Many at once, within 5 ms or 1 MiB.
    #[default]
    Group,
}

/// The log on Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    /// The directory in which a gateway keeps what is not confirmed yet.
    pub outbox: PathBuf,
    /// What stands before the names of topics, and a dot.
    pub prefix: String,
    /// How many lanes the topics have; fixed when they are created.
    pub lanes: u16,
}

/// Where the lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeUrl {
    /// A directory.
    Local(PathBuf),
    /// A bucket of an S3-compatible store; credentials and endpoint come from the `AWS_…` environment.
    S3 {
        /// The bucket.
        bucket: String,
        /// What stands before every key; empty for none, no slash at either end.
        prefix: String,
    },
}

impl LakeUrl {
    /// Whether a path is another one to who takes it for a part of an address, as Delta's reader of logs does: a percent sign stands before
    /// two hexadecimal digits.
    pub fn is_misread(path: &str) -> bool {
        let is_escape = |at: &[u8]| matches!(at, [b'%', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
        path.as_bytes().windows(3).any(is_escape)
    }
}

impl fmt::Display for LakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(dir) => write!(f, "{}", dir.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Reads the section `listen`.
pub(super) fn listen(reader: &mut Reader, node: &Node) -> Option<(Listen, Vec<Tls>)> {
    let fields = reader.fields(node, "listen", &["gateway", "query", "postgres", "flight", "ops", "admin", "tls"])?;
    let mut listen = Listen::default();
    for (name, slot) in [("gateway", &mut listen.gateway), ("query", &mut listen.query), ("ops", &mut listen.ops)] {
        *slot = reader.maybe(&fields, name, Reader::address).unwrap_or(*slot);
    }
    listen.admin = reader.maybe(&fields, "admin", Reader::address);
    listen.postgres = reader.maybe(&fields, "postgres", Reader::address);
    listen.flight = reader.maybe(&fields, "flight", Reader::address);
    one_each(reader, &fields, &listen);
    let tls = reader.or(&fields, "tls", Vec::new(), tls::tls);
    Some((listen, tls))
}

/// What listens, whether the file says where or not, needs an address of its own; port 0 is a fresh one each time.
fn one_each(reader: &mut Reader, fields: &Fields<'_>, listen: &Listen) {
    let mut served = vec![("gateway", listen.gateway), ("query", listen.query), ("ops", listen.ops)];
    served.extend(listen.postgres.map(|address| ("postgres", address)));
    served.extend(listen.flight.map(|address| ("flight", address)));
    served.extend(listen.admin.map(|address| ("admin", address)));
    for (place, (name, address)) in served.iter().enumerate() {
        let other = served.iter().take(place).find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = other {
            let what = format!("{name} and {other} listen on the same address");
            let at = fields.place(name).or(fields.place(other)).unwrap_or(fields.at);
            reader.mistake(at, ErrorCode::DuplicateConfig, what, "give each a port of its own");
        }
    }
}

/// Reads the section `log`.
pub(super) fn log(reader: &mut Reader, node: &Node) -> Option<Log> {
    let all = reader.any_fields(node, "log")?;
    let kafka = reader.need(&all, "kind", |reader, node| reader.one_of(node, &[("disk", false), ("kafka", true)]))?;
    if !kafka {
        let fields = reader.fields(node, "a log of kind disk", &["kind", "dir", "fsync", "keep"])?;
        let fsync =
            reader.or(&fields, "fsync", Fsync::Group, |reader, node| reader.one_of(node, &[("group", Fsync::Group)]));
        let keep = reader.maybe(&fields, "keep", Reader::duration_or_zero);
        return Some(Log::Disk { dir: reader.or(&fields, "dir", default_dir(), path), fsync, keep });
    }
    let known = ["kind", "brokers", "outbox", "prefix", "lanes"];
    let fields = reader.fields(node, "a log of kind kafka", &known)?;
    let brokers = reader.need(&fields, "brokers", brokers);
    let outbox = reader.or(&fields, "outbox", PathBuf::from("./data/outbox"), path);
    let prefix = reader.or(&fields, "prefix", "tollgate".into(), prefix);
    let lanes = reader.or(&fields, "lanes", 16, |reader, node| reader.number(node, 1..=1_024));
    Some(Log::Kafka(Kafka { brokers: brokers?, outbox, prefix, lanes }))
}

fn default_dir() -> PathBuf {
    PathBuf::from("./data/log")
}

impl Default for Log {
    fn default() -> Self {
        Self::Disk { dir: default_dir(), fsync: Fsync::Group, keep: None }
    }
}

/// A path of this machine.
pub(super) fn path(reader: &mut Reader, node: &Node) -> Option<PathBuf> {
    reader.parsed(node, "a path", |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)))
}

fn brokers(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    let brokers: Vec<String> = match &node.value {
        Value::List(_) => reader.list(node, "brokers", |reader, item| Some(reader.scalar(item)?.text.clone()))?,
        _ => reader.scalar(node)?.text.split(',').map(|broker| broker.trim().to_owned()).collect(),
    };
    let valid = |broker: &String| {
        broker.rsplit_once(':').is_some_and(|(host, port)| {
            let clean = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte));
            !host.is_empty() && clean && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if brokers.is_empty() || !brokers.iter().all(valid) {
        reader.bad(node.at, "brokers are not host:port, separated by commas", "write brokers: \"one:9092,two:9092\"");
        return None;
    }
    Some(brokers)
}

fn prefix(reader: &mut Reader, node: &Node) -> Option<String> {
    reader.parsed(node, "a beginning of topic names: 1 to 200 letters, digits, dots, dashes or underscores", |text| {
        let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        ((1..=200).contains(&text.len()) && clean).then(|| text.into())
    })
}

/// Reads the section `lake`.
pub(super) fn lake(reader: &mut Reader, node: &Node) -> Option<LakeUrl> {
    let fields: Fields<'_> = reader.fields(node, "lake", &["url"])?;
    reader.need(&fields, "url", |reader, node| {
        let scalar = reader.scalar(node)?;
        if let Some(rest) = scalar.text.strip_prefix("s3://") {
            return s3(reader, node, rest);
        }
        if scalar.text.contains("://") && !scalar.text.starts_with("file://") {
            let what = format!("{} is neither a directory nor an s3:// address", shown(scalar));
            reader.bad(node.at, what, "write a path, or s3://bucket/prefix");
            return None;
        }
        match scalar.text.strip_prefix("file://") {
            Some(rest) if !rest.starts_with('/') => {
                reader.bad(node.at, "a file:// address has a path that begins with /", "write file:///path, or a path");
                None
            }
            _ if LakeUrl::is_misread(&scalar.text) => {
                let what = format!("{} has a percent sign before two hexadecimal digits", shown(scalar));
                let remedy =
                    "name another directory: the log of a table takes these for one letter, and looks elsewhere";
                reader.bad(node.at, what, remedy);
                None
            }
            Some(rest) => Some(LakeUrl::Local(rest.into())),
            None => path(reader, node).map(LakeUrl::Local),
        }
    })
}

fn s3(reader: &mut Reader, node: &Node, rest: &str) -> Option<LakeUrl> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(word) {
        let remedy = "write s3://bucket/prefix; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        reader.bad(node.at, "the name of the bucket is not valid", remedy);
        return None;
    }
    let prefix = prefix.trim_matches('/');
    if prefix.contains("//")
        || prefix.split('/').any(|part| part == "..")
        || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
    {
        reader.bad(node.at, "the prefix in the bucket is not valid", "write plain words between single slashes");
        return None;
    }
    Some(LakeUrl::S3 { bucket: bucket.into(), prefix: prefix.into() })
}
