//! Questions over Arrow Flight SQL, for what takes rows by columns: ADBC, JDBC, notebooks, other engines.
//!
//! A call of gRPC comes in with a token, as a password or as it is → what it asks for is a [`command`] → of a statement a client is told
//! the columns and is given a ticket, which is that statement again ([`asked`]) → who redeems it asks the engine like any other, and
//! rows go out as they are made ([`ipc`]). What there is to ask is told by [`catalog`] and [`info`].
//!
//! gRPC's own framing is `tonic`'s, without its server and its client; the few messages are written down in [`message`].
//!
//! Bounded: connections and the calls of each, the bytes of a message and how long it may take to come, and by the engine the queries.
//! Between two calls nothing is kept. A client that goes away takes its query with it, and so does one that says so ([`running`]), or
//! whose deadline is over.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
    routing::post,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use listen::{Bounds, Tls, Version};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride, Streaming},
};
use tonic_prost::ProstCodec;

use crate::{
    entry::{Entry, NoEntry},
    run::Readiness,
    sql::{Caller, Head, Rows},
};

mod action;
mod asked;
mod catalog;
mod command;
mod error;
mod info;
mod ipc;
mod message;
mod running;
mod values;

#[cfg(test)]
mod tests;

use asked::Asked;
use command::Command;
use error::{cancelled, wrong};
use message::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Handle, HandshakeResponse, PutResult, SchemaResult,
    Ticket,
};
use running::{Begun, Running};

/// What the listener takes on: 256 connections × 16 calls × 512 KiB = 2 GiB of messages at worst, all of them with a token.
const BOUNDS: Bounds = Bounds { connections: 256, drain: Duration::from_secs(30) };

/// The most bytes of a message that comes in: a statement of 64 KiB, 256 KiB of values, and the columns of a description.
const MAX_MESSAGE: usize = 512 << 10;

/// How long a message may take to come.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How passwords are written, by some clients without what fills up the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether bytes are a command, and what is a statement is the same by its ticket: for the target of fuzz/, which is nobody else's.
#[doc(hidden)]
pub fn understood(bytes: &[u8]) -> Result<bool, tonic::Code> {
    let command = Command::of(&Bytes::copy_from_slice(bytes)).map_err(|status| status.code())?;
    let Command::Ask(mut asked) = command else { return Ok(true) };
    let again = Command::of(&asked.ticket().ticket).map_err(|status| status.code())?;
    let Command::Ask(again) = again else { return Ok(false) };
    asked.id = again.id.clone();
    Ok(asked == again)
}

/// Where the methods are.
const SERVICE: &str = "/arrow.flight.protocol.FlightService/";

const AS_OF: HeaderName = HeaderName::from_static("x-tollgate-as-of");

/// Serves until `shutdown`, then lets queries end.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Tls>, entry: Arc<Entry>, shutdown: &CancellationToken) {
    listen::http(Version::Http2, listener, router(entry), tls, BOUNDS, shutdown).await;
}

/// The methods.
fn router(entry: Arc<Entry>) -> Router {
    let route = |name: &str| format!("{SERVICE}{name}");
    Router::new()
        .route(&route("Handshake"), post(handshake))
        .route(&route("GetFlightInfo"), post(info))
        .route(&route("GetSchema"), post(schema))
        .route(&route("DoGet"), post(get))
        .route(&route("DoPut"), post(put))
        .route(&route("DoAction"), post(act))
        .route(&route("ListActions"), post(actions))
        .fallback(async || told::<message::Empty>(Err(Status::unimplemented("this method is not served here"))))
        .with_state(Arc::new(Flight { entry, running: Arc::default() }))
}

/// What every call is told while there is nothing to answer with.
pub(crate) fn closed(readiness: Readiness) -> Router {
    Router::new().fallback(move || {
        let no = readiness.closed();
        async move { told::<message::Empty>(Err(no.into())) }
    })
}

/// The service.
struct Flight {
    entry: Arc<Entry>,
    running: Arc<Running>,
}

/// What a call is answered with.
struct Answer<M> {
    headers: HeaderMap,
    messages: BoxStream<'static, Result<M, Status>>,
}

impl<M: Send + 'static> Answer<M> {
    fn all(messages: Vec<M>) -> Self {
        Self { headers: HeaderMap::new(), messages: stream::iter(messages.into_iter().map(Ok)).boxed() }
    }

    fn one(message: M) -> Self {
        Self::all(vec![message])
    }
}

async fn handshake(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    told(flight.handshake(request.headers()))
}

async fn info(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    let (headers, said) = said(request);
    told(flight.info(&headers, said).await.map(Answer::one))
}

async fn schema(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    let (headers, said) = said(request);
    let described = flight.info(&headers, said).await;
    told(described.map(|info| Answer::one(SchemaResult { schema: info.schema })))
}

async fn get(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    let (headers, said) = said(request);
    told(flight.get(&headers, said).await)
}

async fn put(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    let (headers, said) = said(request);
    told(flight.put(&headers, said).await.map(Answer::one))
}

async fn act(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    let (headers, said) = said(request);
    told(flight.act(&headers, said).await.map(Answer::all))
}

async fn actions(State(flight): State<Arc<Flight>>, request: Request) -> Response {
    told(flight.caller(request.headers()).map(|_| Answer::all(action::list())))
}

/// The head of a call, and its messages.
fn said<M: Message + Default + 'static>(request: Request) -> (HeaderMap, Streaming<M>) {
    let (head, body) = request.into_parts();
    let decoder = ProstCodec::<M, M>::default().decoder();
    (head.headers, Streaming::new_request(decoder, body, None, Some(MAX_MESSAGE)))
}

/// The next message; nothing after the last.
async fn next<M>(said: &mut Streaming<M>) -> Result<Option<M>, Status> {
    let late = |_| Status::deadline_exceeded("the message did not come in time");
    tokio::time::timeout(MESSAGE_TIMEOUT, said.message()).await.map_err(late)?
}

/// A message that has to come.
async fn one<M>(said: &mut Streaming<M>) -> Result<M, Status> {
    next(said).await?.ok_or_else(|| wrong("a message is missing"))
}

/// An answer as it goes out.
fn told<M: Message + Default + 'static>(answer: Result<Answer<M>, Status>) -> Response {
    let Answer { mut headers, messages } = match answer {
        Ok(answer) => answer,
        Err(status) => return status.into_http(),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let encoder = ProstCodec::<M, M>::default().encoder();
    let plain = SingleMessageCompressionOverride::default();
    let mut response = Response::new(Body::new(EncodeBody::new_server(encoder, messages, None, plain, None)));
    *response.headers_mut() = headers;
    response
}

/// The token that a call shows: a bearer's, or the password of somebody whose name does not matter.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, shown) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(shown.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = String::from_utf8(BASE64.decode(shown.trim()).ok()?).ok()?;
    both.split_once(':').map(|(_, password)| password.to_owned())
}

/// How long a client waits, as gRPC writes it: up to eight digits and a unit.
fn within(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

impl Flight {
    /// Who calls.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        Ok(self.entry.caller(token(headers).as_deref())?)
    }

    /// Gives who shows a password the token that it is, to show from then on.
    fn handshake(&self, headers: &HeaderMap) -> Result<Answer<HandshakeResponse>, Status> {
        self.caller(headers)?;
        let mut answer = Answer::one(HandshakeResponse {});
        let bearer = token(headers).map(|token| format!("Bearer {token}"));
        let mut bearer = bearer.and_then(|bearer| HeaderValue::from_str(&bearer).ok()).ok_or(NoEntry::Stranger)?;
        bearer.set_sensitive(true);
        answer.headers.insert(header::AUTHORIZATION, bearer);
        Ok(answer)
    }

    /// What an answer will be like, and a ticket for it.
    async fn info(&self, headers: &HeaderMap, mut said: Streaming<FlightDescriptor>) -> Result<FlightInfo, Status> {
        let caller = self.caller(headers)?;
        let descriptor = one(&mut said).await?;
        let command = Command::of(&descriptor.cmd)?;
        let (schema, ticket) = match &command {
            Command::Ask(asked) => {
                let described = self.entry.engine.describe(&caller, asked.question(within(headers))).await?;
                (ipc::schema(ipc::shown(&described.schema)?.as_ref())?, asked.ticket())
            }
            command => {
                let rows = catalog::answer(command, &caller.tenants)?;
                (ipc::schema(&rows.schema())?, Ticket { ticket: descriptor.cmd.clone() })
            }
        };
        Ok(FlightInfo {
            schema,
            descriptor: Some(descriptor),
            endpoint: vec![FlightEndpoint { ticket: Some(ticket) }],
            total_records: -1,
            total_bytes: -1,
            ordered: true,
        })
    }

    /// The rows that a ticket is for.
    async fn get(&self, headers: &HeaderMap, mut said: Streaming<Ticket>) -> Result<Answer<FlightData>, Status> {
        let caller = self.caller(headers)?;
        let command = Command::of(&one(&mut said).await?.ticket)?;
        if let Command::Ask(asked) = command {
            return self.rows(caller, &asked, within(headers)).await;
        }
        let rows = catalog::answer(&command, &caller.tenants)?;
        let mut messages = vec![ipc::head(&rows.schema())];
        messages.extend(ipc::Writer::new(rows.schema()).messages(&rows).map_err(ipc::failed)?);
        Ok(Answer::all(messages))
    }

    /// Asks a statement. Whoever drops the answer ends it.
    async fn rows(
        &self,
        caller: Caller,
        asked: &Asked,
        within: Option<Duration>,
    ) -> Result<Answer<FlightData>, Status> {
        let begun = self.running.begin(asked.id.clone(), caller.tenants.clone());
        let writer = |head: &Head| Ok(ipc::Writer::new(ipc::shown(&head.schema)?));
        let (head, rows) = tokio::select! {
            biased;
            () = begun.ends.cancelled() => return Err(cancelled()),
            asked = self.entry.engine.ask(&caller, asked.question(within), writer) => asked?,
        };
        let first = ipc::head(&ipc::nullable(&head.schema));
        let pieces = stream::try_unfold((rows, begun), pieces);
        let rest = pieces.map_ok(|messages| stream::iter(messages.into_iter().map(Ok))).try_flatten();
        let mut headers = HeaderMap::new();
        if let Ok(as_of) = HeaderValue::from_str(&head.as_of.json(&caller.tenants).to_string()) {
            headers.insert(AS_OF, as_of);
        }
        Ok(Answer { headers, messages: stream::once(async { Ok(first) }).chain(rest).boxed() })
    }

    /// Takes the values of a prepared statement's parameters, and gives the handle of the statement with these.
    async fn put(&self, headers: &HeaderMap, mut said: Streaming<FlightData>) -> Result<PutResult, Status> {
        self.caller(headers)?;
        let mut schema = one(&mut said).await?;
        let descriptor = schema.descriptor.take().ok_or_else(|| wrong("the first message says what it is for"))?;
        let Command::Ask(asked) = Command::of(&descriptor.cmd)? else {
            return Err(wrong("values are taken for the parameters of a prepared statement"));
        };
        let batch = one(&mut said).await?;
        if next(&mut said).await?.is_some() {
            return Err(wrong("a prepared statement is asked with one row of values"));
        }
        let handle = asked.with(schema, batch)?.handle();
        Ok(PutResult { app_metadata: Handle { handle }.encode_to_vec().into() })
    }
}

type Pieces = (Rows<Vec<FlightData>>, Begun);

/// The next rows of an answer, unless it is to end.
async fn pieces((mut rows, begun): Pieces) -> Result<Option<(Vec<FlightData>, Pieces)>, Status> {
    let piece = tokio::select! {
        biased;
        () = begun.ends.cancelled() => return Err(cancelled()),
        piece = rows.next() => piece,
    };
    let piece = piece.inspect_err(|error| tracing::info!(%error, "an answer broke off"))?;
    Ok(piece.map(|messages| (messages, (rows, begun))))
}
