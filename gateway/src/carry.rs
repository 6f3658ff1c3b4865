//! A call that goes to a provider of another dialect: its request as it goes there, and the way back of its answer.
//!
//! `translate` is pure; here it meets the call. The request is translated before it is bounded, so that what is held, sent and
//! metered is what the provider sees. The answer that comes back has been relayed in the provider's own bytes: it is metered, and settled
//! before its last frame is released, and only then said in the client's words, so nothing of that order changes. An answer
//! that cannot be read has been charged as reported; its client is told so in its own dialect.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, header, request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited};
use schemas::{
    config::{self, Flavor},
    error_code::ErrorCode,
    event::Api,
    id::CallId,
    time::Time,
    tokens::Vector,
};

use crate::{
    attempt::Used,
    cache::copy::Note,
    error::Fault,
    meter::{Answer, End as MeterEnd, Framing, Meter, data_of, eventstream},
    relay::is_ours,
    request::Parsed,
    translate::{self, Client, End, Provider, Refused, Request, Stream, To, Told},
    way::Way,
};

/// The header that lists what was not carried over.
const NOT_CARRIED: HeaderName = HeaderName::from_static("x-tollgate-not-carried");
/// The longest that it gets; what is beyond is left away with a mark.
const NOT_CARRIED_MAX: usize = 4 << 10;
/// The largest whole answer that is translated, as much as a request may be by default.
const WHOLE_MAX: usize = 64 << 20;
/// How much of a stream that comes all at once is said in one piece, at least.
const PIECE: usize = 16 << 10;
/// The version of Anthropic's API that a client of another dialect is taken to want.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// A request as it goes to a provider of another dialect.
pub(crate) struct Carried {
    pub(crate) way: Way,
    pub(crate) body: Bytes,
    pub(crate) back: Back,
}

/// What the answer needs on its way back.
#[derive(Clone)]
pub(crate) struct Back {
    client: Client,
    provider: Provider,
    api: Api,
    model: String,
    told: Told,
    call: CallId,
    /// Whether the client asked for a stream.
    streams: bool,
    dropped: Vec<String>,
}

/// What is known of the call and of where it goes.
pub(crate) struct Going<'a> {
    pub(crate) dialect: config::Dialect,
    pub(crate) model: &'a str,
    pub(crate) max_output: Option<u64>,
    pub(crate) old_cap: bool,
    pub(crate) flavor: Flavor,
    pub(crate) ask_usage: bool,
    pub(crate) call: CallId,
    pub(crate) at: Time,
    /// The client's own.
    pub(crate) headers: &'a HeaderMap,
}

/// The dialect of a client that can be carried.
const fn client(api: Api) -> Option<Client> {
    match api {
        Api::OpenAiChat => Some(Client::OpenAiChat),
        Api::OpenAiResponses => Some(Client::OpenAiResponses),
        Api::AnthropicMessages => Some(Client::AnthropicMessages),
        _ => None,
    }
}

/// What a provider of a dialect is carried to; the sandbox speaks what it is asked.
const fn provider(dialect: config::Dialect) -> Option<Provider> {
    use config::Dialect;
    match dialect {
        Dialect::OpenAi | Dialect::Azure => Some(Provider::OpenAiChat),
        Dialect::Anthropic => Some(Provider::AnthropicMessages),
        Dialect::Gemini | Dialect::Vertex => Some(Provider::Gemini),
        Dialect::Bedrock => Some(Provider::BedrockConverse),
        Dialect::Cohere => Some(Provider::CohereChat),
        Dialect::Sandbox => None,
    }
}

/// The API of a provider that takes what is carried to it.
pub(crate) const fn api(to: config::Dialect) -> Api {
    match provider(to) {
        Some(Provider::AnthropicMessages) => Api::AnthropicMessages,
        Some(Provider::Gemini) => Api::GeminiGenerateContent,
        Some(Provider::BedrockConverse) => Api::BedrockConverse,
        Some(Provider::CohereChat) => Api::CohereChat,
        Some(Provider::OpenAiChat) | None => Api::OpenAiChat,
    }
}

/// Whether calls of an API can be carried to a dialect.
pub(crate) const fn can(api: Api, to: config::Dialect) -> bool {
    client(api).is_some() && provider(to).is_some()
}

/// Whether a header asks something of the client's own dialect, or of a provider's.
fn is_of_dialect(name: &HeaderName) -> bool {
    matches!(name.as_str(), "anthropic-beta" | "openai-beta") || name.as_str().starts_with("x-amzn-bedrock-")
}

/// Where a translated request goes.
fn way(to: Provider, model: &str, stream: bool) -> Way {
    let (api, path) = match (to, stream) {
        (Provider::OpenAiChat, _) => (Api::OpenAiChat, "/chat/completions"),
        (Provider::AnthropicMessages, _) => (Api::AnthropicMessages, "/v1/messages"),
        (Provider::Gemini, true) => (Api::GeminiGenerateContent, ":streamGenerateContent?alt=sse"),
        (Provider::Gemini, false) => (Api::GeminiGenerateContent, ":generateContent"),
        (Provider::BedrockConverse, true) => (Api::BedrockConverseStream, "/converse-stream"),
        (Provider::BedrockConverse, false) => (Api::BedrockConverse, "/converse"),
        (Provider::CohereChat, _) => (Api::CohereChat, "/v2/chat"),
    };
    let in_path = matches!(to, Provider::Gemini | Provider::BedrockConverse);
    let (model, streams) = (in_path.then(|| model.to_owned()), in_path.then_some(stream));
    Way { api, method: Method::POST, model, streams, path: path.into(), provider: None }
}

/// Translates a request of a client; nothing where its API cannot be carried there.
pub(crate) fn over(asked: &Parsed, going: &Going<'_>) -> Option<Result<Carried, Fault>> {
    let (client, provider) = (client(asked.api())?, provider(going.dialect)?);
    let Going { model, max_output, old_cap, flavor, ask_usage, .. } = *going;
    let to = To { provider, model, max_output, old_cap, flavor, ask_usage };
    let translated = Request::read(client, asked.body()).and_then(|request| Ok((request.write(&to)?, request)));
    Some(translated.map_err(|refused| not_carried(&refused)).map(|(written, request)| {
        let way = way(provider, model, asked.stream);
        let seconds = u64::try_from(going.at.as_micros() / 1_000_000).unwrap_or(0);
        // A quarter of its bytes is about what a text has in tokens; a client is told the true number in the end.
        let expected = asked.body().len() as u64 / 4 + 1;
        let told = request.told(&going.call.to_string(), seconds, expected);
        let (api, model, call) = (way.api, model.to_owned(), going.call);
        let mut dropped = written.dropped;
        let asks = going.headers.keys().filter(|name| is_of_dialect(name));
        dropped.extend(asks.map(|name| format!("{name} (header)")));
        let back = Back { client, provider, api, model, told, call, streams: asked.stream, dropped };
        Carried { way, body: Bytes::from(written.body), back }
    }))
}

fn not_carried(refused: &Refused) -> Fault {
    Fault::new(refused.code(), refused.to_string())
}

impl Back {
    /// The head of the client's request as it goes to the provider: what speaks of the client's dialect stays here.
    pub(crate) fn head(&self, head: &request::Parts) -> request::Parts {
        let mut head = head.clone();
        head.uri = Uri::from_static("/");
        let headers = &mut head.headers;
        let goes = |name: &HeaderName| is_of_dialect(name) || matches!(name.as_str(), "anthropic-version" | "accept");
        let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
        for name in gone {
            headers.remove(name);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.provider == Provider::AnthropicMessages {
            headers.insert("anthropic-version", ANTHROPIC_VERSION);
        }
        head
    }

    /// Whether the client's dialect has to say a number of what was used, also where the answer states none.
    pub(crate) fn needs_usage(&self) -> bool {
        self.client == Client::AnthropicMessages
    }

    /// The answer in the client's dialect. `made` says how it was made, which is withdrawn if what the client gets of a
    /// stream is an error; `used` says what was settled, for who needs that.
    pub(crate) async fn answer(
        self,
        response: Response<Body>,
        made: Option<Note>,
        used: Option<Used>,
    ) -> Result<Response<Body>, Fault> {
        let (mut head, body) = response.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        let framing = Framing::of(kind);
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING).filter(|name| *name != "identity") {
            // It is charged all the same.
            let mut body = body;
            while let Some(Ok(_)) = body.frame().await {}
            return Err(unreadable(&format!("it is encoded ({encoding:?}), which was not asked for")));
        }
        let mut dropped = self.dropped.clone();
        let (kind, body) = if !head.status.is_success() {
            let body = whole(body).await?;
            let told =
                translate::error(self.provider, self.client, head.status.as_u16(), &body, &self.call.to_string());
            ("application/json", Body::from(told))
        } else if framing == Framing::Whole {
            let body = whole(body).await?;
            let usage = self.usage(head.status.as_u16(), body.clone()).or_else(|| settled(used.as_ref()));
            if self.streams {
                // Its client reads events and nothing else.
                let stream = Stream::new(self.provider, &self.model, self.client, self.told);
                let frames = stream.whole(&body, usage.as_ref()).map_err(|refused| unreadable(&refused.to_string()))?;
                ("text/event-stream", Body::from(frames))
            } else {
                let written =
                    translate::answer(self.provider, &self.model, self.client, &body, &self.told, usage.as_ref())
                        .map_err(|refused| unreadable(&refused.to_string()))?;
                dropped.extend(written.dropped);
                ("application/json", Body::from(written.body))
            }
        } else {
            ("text/event-stream", Body::new(Carrying::new(self, framing, body, (made, used))))
        };
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        note(&mut head.headers, &dropped);
        Ok(Response::from_parts(head, body))
    }

    /// What a whole answer says that it used.
    fn usage(&self, status: u16, body: Bytes) -> Option<Vector> {
        let mut meter = Meter::new(Answer { api: self.api, status, framing: Framing::Whole, strip_usage: false });
        meter.push(body);
        meter.close();
        meter.measured(MeterEnd::Closed).usage.total()
    }
}

/// What was settled, which is before the last of the answer is given: an estimate, where that states nothing.
fn settled(used: Option<&Used>) -> Option<Vector> {
    used?.get().copied()
}

fn unreadable(why: &str) -> Fault {
    Fault::new(ErrorCode::AnswerNotCarried, why.to_owned())
}

async fn whole(body: Body) -> Result<Bytes, Fault> {
    let whole = Limited::new(body, WHOLE_MAX).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| unreadable(&error.to_string()))
}

/// Says in the head of an answer what of the request was not carried.
pub(crate) fn note(headers: &mut HeaderMap, dropped: &[String]) {
    if let Some(list) = listed(dropped) {
        headers.insert(NOT_CARRIED, list);
    }
}

/// The list as a header: paths are the client's own words, of which only what a header may have is repeated.
pub(crate) fn listed(words: &[String]) -> Option<HeaderValue> {
    let mut list: String =
        words.join(", ").chars().map(|char| if char == ' ' || char.is_ascii_graphic() { char } else { '?' }).collect();
    if list.len() > NOT_CARRIED_MAX {
        list.truncate(NOT_CARRIED_MAX);
        list.push_str(" ...");
    }
    HeaderValue::from_str(&list).ok().filter(|_| !words.is_empty())
}

/// A streamed answer on its way back. A meter of its own cuts it into frames, and says what the client is told of its usage.
struct Carrying {
    relay: Body,
    /// Whether more of it may come.
    is_open: bool,
    meter: Option<Meter>,
    framing: Framing,
    stream: Stream,
    /// Where it stands how the answer was made, if it is to be kept.
    note: Option<Note>,
    /// Where it stands what was used, if the client needs that.
    used: Option<Used>,
    /// What of it was said and has not gone out. It goes out in one piece, however many frames that are.
    out: Vec<u8>,
    /// What a frame says; empty between two.
    said: String,
    /// A word of the gateway's own, which goes out behind that in a piece of its own: by that it is known.
    word: Option<Bytes>,
}

impl Carrying {
    fn new(back: Back, framing: Framing, relay: Body, (note, used): (Option<Note>, Option<Used>)) -> Self {
        let mut meter = Meter::new(Answer { api: back.api, status: 200, framing, strip_usage: false });
        meter.by_frame();
        let stream = Stream::new(back.provider, &back.model, back.client, back.told);
        Self {
            relay,
            is_open: true,
            meter: Some(meter),
            framing,
            stream,
            note,
            used,
            out: Vec::new(),
            said: String::new(),
            word: None,
        }
    }

    /// Translates the frames that have come whole.
    fn take(&mut self) {
        while let Some(frame) = self.meter.as_mut().and_then(Meter::pop) {
            if frame.bytes.starts_with(b":") {
                // It keeps proxies awake.
                self.out.extend_from_slice(&frame.bytes);
                continue;
            }
            let said = &mut self.said;
            let pushed = match self.framing {
                Framing::Messages => match eventstream::read(&frame.bytes) {
                    Ok(event) if event.is_event() => {
                        self.stream.push_to(event.kind, event.payload, said).map_err(|bad| bad.to_string())
                    }
                    Ok(error) => {
                        said.push_str(&self.stream.fault(error.kind, error.says, error.payload));
                        Ok(())
                    }
                    Err(bad) => Err(bad.to_string()),
                },
                _ => self.stream.push_to("", &data_of(&frame.bytes), said).map_err(|bad| bad.to_string()),
            };
            if let Err(why) = pushed {
                return self.end(End::Broken(format!("the provider's answer cannot be translated: {why}")));
            }
            self.out.extend_from_slice(said.as_bytes());
            said.clear();
        }
    }

    fn end(&mut self, end: End) {
        let Some(mut meter) = self.meter.take() else { return };
        meter.close();
        let usage = meter.measured(MeterEnd::Closed).usage.total().or_else(|| settled(self.used.as_ref()));
        let frames = self.stream.end(end, usage.as_ref());
        self.out.extend_from_slice(frames.as_bytes());
    }
}

impl http_body::Body for Carrying {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // A relay that holds by the slice gives frame by frame what came at once; each piece of ours is a chunk and a wakeup for the client.
        while self.meter.is_some() && self.word.is_none() && self.out.len() < PIECE {
            let next = match Pin::new(&mut self.relay).poll_frame(cx) {
                Poll::Ready(next) => next,
                Poll::Pending if self.out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if is_ours(&data) => self.word = Some(data),
                    Ok(data) => {
                        if let Some(meter) = &mut self.meter {
                            meter.push(data);
                        }
                        self.take();
                    }
                    Err(_) => {}
                },
                // The connection stays whole: the client's dialect has words for it.
                Some(Err(error)) => {
                    self.is_open = false;
                    self.end(End::Broken(error.to_string()));
                }
                None => {
                    self.is_open = false;
                    if let Some(meter) = &mut self.meter {
                        meter.close();
                    }
                    self.take();
                    self.end(End::Complete);
                }
            }
        }
        // What cannot be translated is charged all the same, and nobody has left: it is read to its end.
        while self.out.is_empty() && self.word.is_none() && self.is_open {
            let next = ready!(Pin::new(&mut self.relay).poll_frame(cx));
            self.is_open = matches!(next, Some(Ok(_)));
        }
        // Before any of the error goes out, and so before all of the answer is there to be kept.
        if self.stream.has_failed()
            && let Some(note) = &self.note
        {
            note.withdraw();
        }
        let piece = match std::mem::take(&mut self.out) {
            out if out.is_empty() => self.word.take(),
            out => Some(Bytes::from(out)),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
