//! A proxy in front of a broker that can make it answer `Metadata` as one that has just started may: with no brokers.
//!
//! The broker says its own address to its clients; the proxy puts its own in the place of it, so that all goes through it.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// The requests whose answers say addresses, or list brokers.
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;

pub(super) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    broker: SocketAddr,
    own: SocketAddr,
    nobody: AtomicBool,
    answers: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(super) fn before(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let (nobody, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        let broker = broker.parse().unwrap();
        let shared = Arc::new(Shared { broker, own, nobody, answers, connections: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.connect(client);
            }
        });
        Self { address: own.to_string(), shared }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// From here on the broker lists itself, or nobody.
    pub(super) fn list_nobody(&self, nobody: bool) {
        self.shared.nobody.store(nobody, SeqCst);
    }

    /// How many answers listed brokers, or nobody.
    pub(super) fn answers(&self) -> usize {
        self.shared.answers.load(SeqCst)
    }

    /// Ends all connections, as a broker that stops does.
    pub(super) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(broker) = TcpStream::connect(self.broker) else { return };
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
            self.connections.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let asked = Arc::new(Mutex::default());
        let pair = (client.try_clone().unwrap(), broker.try_clone().unwrap(), Arc::clone(&asked));
        thread::spawn(move || pump(pair.0, pair.1, |request| note(request, &pair.2)));
        let shared = Arc::clone(self);
        thread::spawn(move || pump(broker, client, |answer| shared.answer(answer, &asked)));
    }

    fn answer(&self, answer: &mut Vec<u8>, asked: &Mutex<HashMap<[u8; 4], i16>>) {
        let Some(kind) = asked.lock().unwrap().remove(&answer[..4]) else { return };
        let (theirs, ours) = (place(self.broker), place(self.own));
        for at in 0..answer.len() {
            if answer[at..].starts_with(&theirs) {
                answer[at..at + ours.len()].copy_from_slice(&ours);
            }
        }
        if kind == METADATA {
            if self.nobody.load(SeqCst) {
                list_nobody(answer);
            }
            self.answers.fetch_add(1, SeqCst);
        }
    }
}

/// Hands on what comes, message by message, until either side is gone.
fn pump(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut Vec<u8>)) {
    let mut hand_on = || -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            let mut message = vec![0; u32::from_be_bytes(length) as usize];
            from.read_exact(&mut message)?;
            change(&mut message);
            to.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes())?;
            to.write_all(&message)?;
        }
    };
    let _ = hand_on();
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Remembers by its correlation what a request asks for, if its answer is to be changed.
fn note(request: &[u8], asked: &Mutex<HashMap<[u8; 4], i16>>) {
    let short = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let (kind, version) = (short(0), short(2));
    if kind == METADATA || kind == FIND_COORDINATOR {
        assert!(kind != METADATA || version >= 9, "an answer of this form cannot be changed here");
        asked.lock().unwrap().insert(request[4..8].try_into().unwrap(), kind);
    }
}

/// An address as answers say it: the host's name and, right behind it, the port.
fn place(address: SocketAddr) -> Vec<u8> {
    let mut bytes = address.ip().to_string().into_bytes();
    bytes.extend(u32::from(address.port()).to_be_bytes());
    bytes
}

/// Takes the brokers out of an answer: behind the correlation, no tags and the throttle stands their number plus one, then of
/// each its id, host, port, rack and tags. A text's length, too, is said plus one.
fn list_nobody(answer: &mut Vec<u8>) {
    let first = 4 + 1 + 4;
    let mut end = first + 1;
    for _ in 1..answer[first] {
        end += 4;
        end += usize::from(answer[end]);
        end += 4;
        end += usize::from(answer[end]).max(1);
        end += 1;
    }
    answer.splice(first..end, [1]);
}
