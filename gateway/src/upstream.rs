//! The way to a provider: one pooled client a worker and provider, or the sandbox in process, behind one seam.
//!
//! What goes there is little and chosen by name; what comes back loses what is not the client's business. Addresses are
//! checked after they are resolved, at the moment of connecting. Redirects are not followed, bodies are never decoded, and
//! a provider's key is in nothing but the request's head. This file knows no limit and no meter.

use std::{
    collections::VecDeque,
    error::Error as _,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri, header, response,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client, Error as ClientError, ResponseFuture,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use schemas::{
    config::{BaseUrl, Dialect as Spoken, Provider, Responses, is_private},
    time::now,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{error::Dialect, sandbox, way::Way};

mod address;
mod connect;
mod credential;
mod headers;
mod sigv4;

use credential::{Credential, Held};
pub use credential::{Environment, Surroundings};
pub(crate) use credential::{Lack, Source, World};
#[cfg(feature = "fuzz")]
pub(crate) use headers::copy_allowed;
pub(crate) use headers::{answer_headers, changes_answers};

/// How long an idle connection is kept: less than providers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(45);

/// What a worker needs to send to one provider.
pub(crate) struct Upstream {
    /// Its configuration.
    pub(crate) provider: Arc<Provider>,
    /// The dialect it speaks; nothing for the sandbox, which speaks all.
    dialect: Option<Dialect>,
    kind: Kind,
    /// Where its credential comes from.
    source: Arc<Source>,
    slots: Option<Arc<Semaphore>>,
}

enum Kind {
    Http(Box<Remote>),
    Sandbox,
}

struct Remote {
    client: Client<connect::Connector, Full<Bytes>>,
    base: Base,
}

struct Base {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

/// A provider that cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("provider `{provider}`: {why}")]
pub struct BadProvider {
    provider: String,
    why: &'static str,
}

impl BadProvider {
    pub(crate) fn new(provider: &Provider, why: &'static str) -> Self {
        Self { provider: provider.name.clone(), why }
    }
}

/// All connections to the provider that may be open are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSlot;

/// A request on its way; ends with the head of the answer.
pub(crate) enum Sending {
    Http(ResponseFuture),
    Sandbox(Option<Box<sandbox::Answer>>),
}

/// The head of an answer and the body behind it.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// The body of an answer.
pub(crate) enum AnswerBody {
    Http(Incoming),
    Sandbox(Box<sandbox::Body>),
    /// What was read ahead, in the pieces that it came in, and what comes behind it.
    Ahead(VecDeque<Result<Bytes, hyper::Error>>, Box<Self>),
    /// It is not read any further.
    Closed,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The provider never saw the request.
    NotSent(String),
    /// It may have seen it, and may work on it.
    NoAnswer(String),
}

impl Upstream {
    /// Makes the client of a provider, in the runtime that will use it. `source` and `slots` are shared by all workers.
    pub(crate) fn new(
        provider: Arc<Provider>,
        source: Arc<Source>,
        slots: Option<Arc<Semaphore>>,
    ) -> Result<Self, BadProvider> {
        let dialect = match provider.dialect {
            Spoken::OpenAi | Spoken::Azure => Some(Dialect::OpenAi),
            Spoken::Anthropic => Some(Dialect::Anthropic),
            Spoken::Gemini | Spoken::Vertex => Some(Dialect::Gemini),
            Spoken::Bedrock => Some(Dialect::Bedrock),
            Spoken::Cohere => Some(Dialect::Cohere),
            Spoken::Sandbox => None,
        };
        let kind = match (&provider.base_url, dialect) {
            (Some(url), Some(_)) => Kind::http(&provider, url).map_err(|why| BadProvider::new(&provider, why))?,
            _ => Kind::Sandbox,
        };
        Ok(Self { provider, dialect, kind, source, slots })
    }

    /// Whether it takes calls of a dialect.
    pub(crate) fn speaks(&self, dialect: Dialect) -> bool {
        self.dialect.is_none_or(|own| own == dialect)
    }

    /// Whether it takes OpenAI's Responses as they come, if it speaks that dialect.
    pub(crate) fn responds(&self) -> bool {
        self.provider.more.responses == Responses::Native
    }

    /// Whether it is of the network, takes calls of a dialect, and can be called.
    pub(crate) fn serves(&self, dialect: Dialect) -> bool {
        self.dialect == Some(dialect) && self.lack().is_none()
    }

    /// Whether the body of a call to it names the model, or its path.
    pub(crate) fn is_named_in_body(&self, way: &Way, query: Option<&str>) -> bool {
        !address::names_model(&self.provider, way, query)
    }

    /// The vendor whose dialect it speaks, whose models it is taken to have.
    pub(crate) fn vendor(&self) -> Option<&'static str> {
        self.dialect.map(|dialect| match dialect {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Gemini => "google",
            Dialect::Bedrock => "bedrock",
            Dialect::Cohere => "cohere",
        })
    }

    /// Why no call can be sent: a provider of the network needs a credential. Nothing where one can.
    pub(crate) fn lack(&self) -> Option<Lack> {
        match &self.kind {
            Kind::Http(_) => self.source.lack(),
            Kind::Sandbox => None,
        }
    }

    /// The provider did not take the credential.
    pub(crate) fn refused(&self) {
        self.source.refused();
    }

    /// Does something with each secret that was sent as it is and that an answer may repeat.
    pub(crate) fn with_secrets(&self, mut with: impl FnMut(&[u8])) {
        for held in self.source.sent().into_iter().flatten() {
            let secret = held.credential.sent().as_bytes();
            if !secret.is_empty() {
                with(secret);
            }
        }
    }

    /// A place among the provider's connections, if there is one within the time that a connection may take.
    pub(crate) async fn slot(&self) -> Result<Option<OwnedSemaphorePermit>, NoSlot> {
        let Some(slots) = &self.slots else { return Ok(None) };
        let within = self.provider.timeouts.connect;
        let slot = tokio::time::timeout(within, Arc::clone(slots).acquire_owned()).await;
        slot.ok().and_then(Result::ok).map(Some).ok_or(NoSlot)
    }

    /// Sends a request of a client on, to a model by the name that it has there. `headers` and `query` are the client's own. Where
    /// `captures` is said, it tells when there is a connection for it.
    pub(crate) fn send(
        &self,
        (way, model): (&Way, &str),
        headers: &HeaderMap,
        query: Option<&str>,
        body: Bytes,
        captures: bool,
    ) -> (Sending, Option<CaptureConnection>) {
        match &self.kind {
            Kind::Sandbox => {
                let answer = sandbox::answer(way.api, &body, self.provider.frame_delay, now());
                (Sending::Sandbox(Some(Box::new(answer))), None)
            }
            Kind::Http(remote) => {
                let Remote { client, base } = &**remote;
                let target = address::of(&self.provider, way, model, query);
                let mut request = Request::new(Full::new(body.clone()));
                *request.method_mut() = way.method.clone();
                *request.uri_mut() = base.join(&target);
                let head = request.headers_mut();
                headers::copy_allowed(headers, &self.provider.forward, head);
                head.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                let held = self.source.held();
                match held.as_deref().map(|Held { credential, .. }| credential) {
                    Some(Credential::Header(name, value, _)) => {
                        head.insert(name.clone(), value.clone());
                    }
                    Some(Credential::Aws(keys)) => {
                        let whole = format!("{}{}", base.path, target);
                        let (path, query) =
                            whole.split_once('?').map_or((&*whole, None), |(path, query)| (path, Some(query)));
                        let host = base.authority.as_str();
                        let (service, method, at) = ("bedrock", &way.method, now());
                        let signed = sigv4::Signed { service, method, host, path, query, body: &body, at };
                        // Keys that no header can carry are refused with the configuration.
                        let _ = sigv4::sign(keys, signed, head);
                    }
                    Some(Credential::None) | None => {}
                }
                let captured = captures.then(|| capture_connection(&mut request));
                (Sending::Http(client.request(request)), captured)
            }
        }
    }
}

impl Kind {
    fn http(provider: &Provider, url: &BaseUrl) -> Result<Self, &'static str> {
        let scheme = if url.https { Scheme::HTTPS } else { Scheme::HTTP };
        let host = url.port.map_or_else(|| url.host.clone(), |port| format!("{}:{port}", url.host));
        let authority = Authority::try_from(host).map_err(|_| "base_url has no valid host")?;
        if !provider.allow_private && url.ip().is_some_and(is_private) {
            return Err("base_url is a private address; say `allow_private: true` if that is meant");
        }
        let path = url.path.clone();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        if provider.http2 && !url.https {
            builder.http2_only(true);
        }
        let client = builder.build(connect::connector(provider)?);
        let base = Base { scheme, authority, path };
        Ok(Self::Http(Box::new(Remote { client, base })))
    }
}

impl Base {
    /// The address of what stands at `target`, a path and a query behind the base.
    fn join(&self, target: &str) -> Uri {
        let mut text = String::with_capacity(self.path.len() + target.len());
        text.push_str(&self.path);
        text.push_str(target);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query =
            Some(PathAndQuery::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl Future for Sending {
    type Output = Result<Answer, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Http(response) => Poll::Ready(match ready!(Pin::new(response).poll(cx)) {
                Ok(response) => {
                    let (response::Parts { status, headers, .. }, body) = response.into_parts();
                    Ok(Answer { status, headers, body: AnswerBody::Http(body) })
                }
                Err(error) => Err(SendError::of(&error)),
            }),
            Self::Sandbox(answer) => {
                let Some(answer) = answer.take() else { return Poll::Pending };
                let kind = if answer.is_stream { "text/event-stream; charset=utf-8" } else { "application/json" };
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                if let Some(size) = answer.body.len() {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
                }
                let status = answer.status;
                Poll::Ready(Ok(Answer { status, headers, body: AnswerBody::Sandbox(Box::new(answer.body)) }))
            }
        }
    }
}

impl SendError {
    fn of(error: &ClientError) -> Self {
        let canceled = error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .is_some_and(hyper::Error::is_canceled);
        // The deepest cause says what is wrong; none of them carries a header or a body.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let text = cause.to_string();
        if error.is_connect() || canceled { Self::NotSent(text) } else { Self::NoAnswer(text) }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) | Self::NoAnswer(why) => f.write_str(why),
        }
    }
}

impl AnswerBody {
    /// The next bytes; nothing at the end, an error where the answer breaks off. Trailers are left out.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        match self {
            Self::Sandbox(body) => body.poll_frame(cx).map(|frame| frame.map(Ok)),
            Self::Ahead(read, rest) => match read.pop_front() {
                Some(data) => Poll::Ready(Some(data)),
                None => rest.poll_data(cx),
            },
            Self::Closed => Poll::Ready(None),
            Self::Http(body) => loop {
                return Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    None => None,
                    Some(Err(error)) => Some(Err(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => Some(Ok(data)),
                        Err(_) => continue,
                    },
                });
            },
        }
    }

    /// What comes of it within this time, until it is so much; whoever reads it then gets that as well, as it came.
    pub(crate) async fn read_ahead(&mut self, most: usize, within: Duration) -> Vec<u8> {
        let mut rest = std::mem::replace(self, Self::Closed);
        let (mut read, mut said) = (VecDeque::new(), Vec::<u8>::new());
        let reading = async {
            while said.len() < most {
                let next = poll_fn(|cx| rest.poll_data(cx)).await;
                if let Some(Ok(data)) = &next {
                    said.extend_from_slice(data);
                } else {
                    rest = Self::Closed;
                }
                match next {
                    Some(next) => read.push_back(next),
                    None => break,
                }
            }
        };
        // What has come by then is all that is looked at.
        let _ = tokio::time::timeout(within, reading).await;
        *self = Self::Ahead(read, Box::new(rest));
        said
    }

    /// One that has come, in these pieces.
    pub(crate) fn came(pieces: VecDeque<Bytes>) -> Self {
        Self::Ahead(pieces.into_iter().map(Ok).collect(), Box::new(Self::Closed))
    }

    /// Whether it is known that nothing more comes.
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Sandbox(_) => false,
            Self::Ahead(read, rest) => read.is_empty() && rest.is_at_end(),
            Self::Closed => true,
            Self::Http(body) => body.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests;
