//! A provider of any dialect that tells one frame again and again, until nobody listens or it breaks off.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use schemas::config::{AwsKeys, BaseUrl, Dialect, More, Provider, Secret};

/// A provider that tells the same frame again and again: so often, or until nobody listens.
pub(crate) struct Told {
    dialect: Dialect,
    kind: &'static str,
    opening: Vec<u8>,
    frame: Vec<u8>,
    times: usize,
    /// Whether it comes to its end.
    is_whole: bool,
    /// Whether somebody left who was being told something.
    pub(crate) was_left: Arc<AtomicBool>,
}

impl Told {
    pub(crate) fn new(dialect: Dialect, opening: &[u8], frame: &[u8]) -> Self {
        let kind = if dialect == Dialect::Bedrock { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
        let (opening, frame) = (opening.to_vec(), frame.to_vec());
        Self { dialect, kind, opening, frame, times: usize::MAX, is_whole: false, was_left: Arc::default() }
    }

    /// It breaks off after so many frames.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// It says its opening and nothing else, as JSON and to the end, whatever it is asked for.
    pub(crate) fn in_json(self) -> Self {
        Self { kind: "application/json", times: 0, is_whole: true, ..self }
    }

    /// Listens, for as long as the test lasts; gives a provider like this one, that goes there.
    pub(crate) fn start(self, like: Provider) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let path = if self.dialect == Dialect::OpenAi { "/v1" } else { "" };
        let base_url = BaseUrl::parse(&format!("http://{}{path}", listener.local_addr().unwrap())).ok();
        let aws = AwsKeys {
            region: "us-east-1".into(),
            access_key_id: Secret::new("AKIDEXAMPLE"),
            secret_access_key: Secret::new("secret"),
            session_token: Secret::default(),
        };
        let signs = self.dialect == Dialect::Bedrock;
        let api_key = Secret::new(if signs { "" } else { "secret" });
        let more = More { aws: signs.then_some(aws), ..More::default() };
        let provider = Provider { name: "told".into(), dialect: self.dialect, base_url, api_key, more, ..like };
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let was_left = self.tell(socket).is_err();
                self.was_left.fetch_or(was_left, Ordering::Relaxed);
            }
        });
        provider
    }

    fn tell(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(socket);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        reader.read_exact(&mut vec![0; length])?;
        let mut socket = reader.into_inner();
        write!(socket, "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n", self.kind)?;
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        socket.write_all(&chunk(&self.opening))?;
        let frame = chunk(&self.frame);
        (0..self.times).try_for_each(|_| socket.write_all(&frame))?;
        if self.is_whole { socket.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }
}
