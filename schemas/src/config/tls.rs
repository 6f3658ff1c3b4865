//! TLS on the listeners: which certificate each shows, and whose certificates it asks of its clients.
//!
//! Nothing here reads a file: whether a certificate can be used is seen when it is.

use std::{path::PathBuf, time::Duration};

use super::{reader::Reader, store::path, yaml::Node, yaml::Value};

/// One certificate, and the listeners that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The listeners.
    pub on: Vec<Listener>,
    /// The certificate and what leads from it to its root, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The authorities one of which has to have signed a client's certificate, in PEM; nothing if clients need none.
    pub client_ca: Option<PathBuf>,
    /// How often it is looked whether the files have changed.
    pub reload: Duration,
}

/// A listener that can speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself")]
pub enum Listener {
    Gateway,
    Query,
    Postgres,
    Flight,
    Ops,
    Admin,
}

impl Listener {
    const ALL: [Self; 6] = [Self::Gateway, Self::Query, Self::Postgres, Self::Flight, Self::Ops, Self::Admin];

    /// The name under `listen`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Query => "query",
            Self::Postgres => "postgres",
            Self::Flight => "flight",
            Self::Ops => "ops",
            Self::Admin => "admin",
        }
    }
}

/// Reads `listen.tls`: one, or a list of them. One that names no listeners is for those that no other names.
pub(super) fn tls(reader: &mut Reader, node: &Node) -> Option<Vec<Tls>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut all: Vec<Tls> = items.iter().filter_map(|item| one(reader, item)).collect();
    for listener in Listener::ALL {
        if all.iter().filter(|tls| tls.on.contains(&listener)).count() > 1 {
            reader.bad(node.at, format!("two certificates for {}", listener.name()), "name each listener once");
        }
    }
    let named: Vec<Listener> = all.iter().flat_map(|tls| tls.on.clone()).collect();
    let mut rest = all.iter_mut().filter(|tls| tls.on.is_empty());
    if let Some(tls) = rest.next() {
        tls.on = Listener::ALL.into_iter().filter(|listener| !named.contains(listener)).collect();
    }
    if rest.next().is_some() {
        reader.bad(node.at, "two certificates for all other listeners", "say with `on` which is for which");
    }
    Some(all)
}

fn one(reader: &mut Reader, node: &Node) -> Option<Tls> {
    let fields = reader.fields(node, "tls", &["on", "cert", "key", "client_ca", "reload"])?;
    let names = Listener::ALL.map(|listener| (listener.name(), listener));
    let on = reader.or(&fields, "on", Vec::new(), |reader, node| {
        let on = reader.list(node, "on", |reader, item| reader.one_of(item, &names))?;
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            reader.bad(node.at, "tls on no listener", "name listeners, or leave it out for all of them");
        }
        Some(on)
    });
    let cert = reader.need(&fields, "cert", path);
    let key = reader.need(&fields, "key", path);
    let client_ca = reader.maybe(&fields, "client_ca", path);
    let reload = reader.or(&fields, "reload", Duration::from_secs(30), Reader::duration);
    Some(Tls { on, cert: cert?, key: key?, client_ca, reload })
}
