//! How a session begins: TLS, who asks, and with which settings. Nothing that is said here reaches the engine. A place among the sessions is
//! taken last, so that requests to end a query need none.

use std::{io, sync::Arc};

use listen::Tls;
use schemas::error_code::ErrorCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    cancel::{Cancel, Cancels},
    error::Wrong,
    message::{self, MAX_OPENING, Opening, Said, Told},
    setting::Settings,
};
use crate::entry::{Entry, NoEntry};

/// The minor version of the protocol that is spoken.
const MINOR: u16 = 0;

/// Questions before a session begins: TLS, Kerberos, and the session itself.
const MAX_QUESTIONS: usize = 4;

/// A session that may begin.
pub(super) enum Begun {
    Plain(TcpStream, Begin),
    Tls(Box<TlsStream<TcpStream>>, Begin),
}

/// Who begins it.
pub(super) struct Begin {
    /// Shown to be an access token, and shown again with every query: it may be taken back.
    pub(super) token: String,
    /// As it names itself.
    pub(super) user: Arc<str>,
    pub(super) settings: Settings,
    /// Its place among the sessions.
    pub(super) cancel: Cancel,
}

/// Lets somebody in; nothing if they wanted something else, or may not. Where nobody may, they are told before a password is asked for.
pub(super) async fn begin(
    mut stream: TcpStream,
    tls: Option<Tls>,
    entry: Result<&Entry, NoEntry>,
    cancels: &Arc<Cancels>,
) -> io::Result<Option<Begun>> {
    for _ in 0..MAX_QUESTIONS {
        match message::read_opening(&mut stream).await? {
            Opening::Cancel { pid, secret } => {
                cancels.cancel(pid, secret);
                return Ok(None);
            }
            Opening::Tls => {
                let Some(tls) = &tls else {
                    stream.write_all(b"N").await?;
                    continue;
                };
                stream.write_all(b"S").await?;
                let Some(mut stream) = listen::handshake(stream, tls).await else { return Ok(None) };
                let begun = match message::read_opening(&mut stream).await? {
                    Opening::Cancel { pid, secret } => {
                        cancels.cancel(pid, secret);
                        // Without a word of farewell its client takes it for cut off, and the query for not cancelled.
                        stream.shutdown().await?;
                        None
                    }
                    Opening::Start { minor, parameters } => {
                        admit(&mut stream, minor, parameters, entry, cancels).await?
                    }
                    Opening::Tls | Opening::Gss => None,
                };
                return Ok(begun.map(|begin| Begun::Tls(Box::new(stream), begin)));
            }
            Opening::Gss => stream.write_all(b"N").await?,
            Opening::Start { .. } if tls.is_some() => {
                let wrong = Wrong::fatal("28000", "this listener speaks TLS only: connect with sslmode=require");
                refuse(&mut stream, &wrong).await?;
                return Ok(None);
            }
            Opening::Start { minor, parameters } => {
                let begun = admit(&mut stream, minor, parameters, entry, cancels).await?;
                return Ok(begun.map(|begin| Begun::Plain(stream, begin)));
            }
        }
    }
    Ok(None)
}

async fn admit(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    minor: u16,
    parameters: Vec<(String, String)>,
    entry: Result<&Entry, NoEntry>,
    cancels: &Arc<Cancels>,
) -> io::Result<Option<Begin>> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(no) => {
            refuse(stream, &no.into()).await?;
            return Ok(None);
        }
    };
    let mut told = Told::default();
    let unknown: Vec<&str> =
        parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if minor > MINOR || !unknown.is_empty() {
        told.version(MINOR, &unknown);
    }
    told.authentication(3);
    stream.write_all(&told.0).await?;
    let Said::Password(token) = message::read(stream, MAX_OPENING).await? else {
        refuse(stream, &Wrong::fatal("08P01", "a password is wanted here")).await?;
        return Ok(None);
    };
    let begun = entry.caller(Some(&token)).map_err(Wrong::from).and_then(|_| {
        let user = parameters.iter().find(|(name, _)| name == "user").map_or("", |(_, user)| user.as_str());
        let settings = settings(user, &parameters)?;
        let cancel = cancels.open(&token).ok_or_else(full)?;
        Ok(Begin { token, user: user.into(), settings, cancel })
    });
    match begun {
        Ok(begin) => Ok(Some(begin)),
        Err(wrong) => {
            refuse(stream, &wrong).await?;
            Ok(None)
        }
    }
}

fn full() -> Wrong {
    let why = "too many connections, of this token or of all; close some, or try again in a moment";
    Wrong { code: Some(ErrorCode::QueryResources), ..Wrong::fatal("53300", why) }
}

/// The settings that a client begins with.
fn settings(user: &str, parameters: &[(String, String)]) -> Result<Settings, Wrong> {
    let mut settings = Settings::new(user);
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                // `-c name=value`, as libpq hands on what stands in PGOPTIONS.
                let given = value.split("-c").filter_map(|option| option.trim().split_once('='));
                for (name, value) in given {
                    settings.set(name.trim(), Some(value.trim())).map_err(|wrong| Wrong { fatal: true, ..wrong })?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => {
                settings.set(name, Some(value)).map_err(|wrong| Wrong { fatal: true, ..wrong })?;
            }
        }
    }
    Ok(settings)
}

async fn refuse(stream: &mut (impl AsyncWrite + Unpin), wrong: &Wrong) -> io::Result<()> {
    let mut told = Told::default();
    wrong.tell(&mut told);
    stream.write_all(&told.0).await?;
    stream.shutdown().await
}
