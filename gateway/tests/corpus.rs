//! Recorded exchanges are metered as their expectation says, in whatever pieces they arrive, and pass byte for byte.
//!
//! The corpus lies beside the checkout, or where `TOLLGATE_CORPUS` says; without it the test says loudly that it did nothing,
//! unless `TOLLGATE_REQUIRE_CORPUS=1` makes that a failure. Every exchange, of every provider and API, streamed and not, complete and
//! cut, passes or is listed in [`EXPECTATION_IS_WRONG`] with the reason.

#![expect(clippy::expect_used, reason = "a test may fail wherever the corpus is not what it should be")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use gateway::{
    meter::{Answer, End, Finish, Framing, Measured, Meter, Verdict},
    request::{Cap, CapMember, Edits, Given, read},
};
use schemas::{
    event::Api,
    money::Pico,
    tokens::{Completeness, Doubt, Vector},
};
use serde_json::{Value, value::RawValue};

/// Exchanges whose expectation is not followed, each with the reason.
const EXPECTATION_IS_WRONG: &[(&str, &str)] = &[
    (
        "66a294bb99f0e7ef",
        "groq.chat: every frame has another id and that of the last is `stub`, which is expected; the first one is kept, as ever",
    ),
    ("e05a88c988719a6e", "anthropic.complete: none is expected, and the answer names its model"),
    (
        "c3bcea7e0296effb",
        "writer.completions: nothing in the stream marks its end, so that it is whole cannot be known",
    ),
];

#[path = "corpus/called.rs"]
mod called;
#[path = "corpus/cut.rs"]
mod cut;
#[path = "corpus/written.rs"]
mod written;

/// The chunks that a body arrives in.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Every(usize),
    AtFrames,
}

struct Exchange {
    id: String,
    api: Api,
    framing: Framing,
    meta: Value,
    body: Bytes,
}

impl Exchange {
    fn flag(&self, name: &str) -> bool {
        self.meta[name] == true
    }

    fn text(&self, name: &str) -> &str {
        self.meta[name].as_str().unwrap_or_default()
    }

    fn status(&self) -> u16 {
        self.meta["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status")
    }

    fn is_stream(&self) -> bool {
        self.flag("stream") && self.status() < 400
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.meta["response_headers"].as_object().into_iter().flatten();
        headers.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The body in chunks.
    fn chunks(&self, cut: Cut) -> Vec<Bytes> {
        match cut {
            Cut::Every(size) => self.body.chunks(size).map(Bytes::copy_from_slice).collect(),
            Cut::AtFrames if self.framing == Framing::Messages => {
                messages(&self.body).into_iter().map(Bytes::copy_from_slice).collect()
            }
            Cut::AtFrames => frames(&self.body).into_iter().map(Bytes::copy_from_slice).collect(),
        }
    }
}

/// The frames of a body whose lines end in line feeds, found the plain way.
fn frames(body: &[u8]) -> Vec<&[u8]> {
    let (mut frames, mut rest) = (Vec::new(), body);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        let (frame, after) = rest.split_at(end + 2);
        frames.push(frame);
        rest = after;
    }
    frames.push(rest);
    frames.retain(|frame| !frame.is_empty());
    frames
}

/// The messages of an event stream, found the plain way.
fn messages(body: &[u8]) -> Vec<&[u8]> {
    let (mut messages, mut rest) = (Vec::new(), body);
    while let Some(length) = rest.first_chunk::<4>() {
        let (message, after) = rest.split_at((u32::from_be_bytes(*length) as usize).min(rest.len()));
        messages.push(message);
        rest = after;
    }
    messages.push(rest);
    messages.retain(|message| !message.is_empty());
    messages
}

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let place = std::env::var_os("TOLLGATE_CORPUS").map_or_else(beside, PathBuf::from);
    if place.join("README.md").exists() {
        return Some(place);
    }
    assert_ne!(std::env::var("TOLLGATE_REQUIRE_CORPUS").as_deref(), Ok("1"), "no corpus at {}", place.display());
    eprintln!("SKIPPED: there is no corpus at {}, so no recorded exchange was metered", place.display());
    None
}

/// The API that an exchange is metered as: its own, or that of the dialect that its provider speaks.
fn api_of(meta: &Value) -> Api {
    let named = |name: &Value| Api::ALL.into_iter().find(|api| *name == api.name());
    let api = named(&meta["api"]).or_else(|| named(&meta["dialect"])).or_else(|| match meta["api"].as_str() {
        Some("vertex.count_tokens") => Some(Api::GeminiCountTokens),
        _ => None,
    });
    // Ollama speaks OpenAI's dialect too.
    api.or_else(|| (meta["dialect"] == "ollama.native").then_some(Api::OllamaChat)).expect("an API")
}

/// Every exchange.
fn exchanges(corpus: &Path) -> Vec<Exchange> {
    let mut found = Vec::new();
    for entry in fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("an entry").path()) {
        let Some(id) = entry.file_name().and_then(|name| name.to_str()?.strip_suffix(".meta.json")) else { continue };
        let meta: Value = serde_json::from_slice(&fs::read(&entry).expect("a meta file")).expect("JSON");
        let kinds = [
            ("sse", Framing::Events),
            ("json", Framing::Whole),
            ("eventstream", Framing::Messages),
            ("ndjson", Framing::Lines),
        ];
        let place = |kind: &str| corpus.join(format!("{id}.response.{kind}"));
        let (kind, framing) = kinds.into_iter().find(|(kind, _)| place(kind).exists()).expect("a response");
        let body = fs::read(place(kind)).expect("a response");
        found.push(Exchange { id: id.to_owned(), api: api_of(&meta), framing, meta, body: body.into() });
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

/// What came through, what was withheld, and the result.
fn run(exchange: &Exchange, cut: Cut, strip_usage: bool) -> (Vec<u8>, Vec<u8>, Option<Bytes>, Measured) {
    let (api, status, framing) = (exchange.api, exchange.status(), exchange.framing);
    let mut meter = Meter::new(Answer { api, status, framing, strip_usage });
    exchange.headers().for_each(|(name, value)| meter.header(name, value));
    let (mut passed, mut withheld, mut last) = (Vec::new(), Vec::new(), None);
    let mut take = |meter: &mut Meter| {
        while let Some(frame) = meter.pop() {
            match frame.verdict {
                Verdict::Strip => withheld.extend_from_slice(&frame.bytes),
                Verdict::Pass => passed.extend_from_slice(&frame.bytes),
                Verdict::Last => {
                    passed.extend_from_slice(&frame.bytes);
                    last = Some(frame.bytes);
                }
            }
        }
    };
    for chunk in exchange.chunks(cut) {
        meter.push(chunk);
        take(&mut meter);
    }
    meter.close();
    take(&mut meter);
    (passed, withheld, last, meter.measured(End::Closed))
}

/// The frame that a client misses which did not ask for usage.
fn usage_frame(exchange: &Exchange) -> Option<&[u8]> {
    const FORM: [&str; 8] =
        ["id", "object", "created", "model", "service_tier", "system_fingerprint", "obfuscation", "provider"];
    let is_usage_only = |frame: &&[u8]| {
        let data = frame.strip_prefix(b"data: ").and_then(|data| serde_json::from_slice::<Value>(data).ok());
        let Some(Value::Object(mut data)) = data else { return false };
        data.retain(|name, value| !FORM.contains(&name.as_str()) && !value.is_null());
        let (usage, choices) = (data.remove("usage"), data.remove("choices"));
        data.is_empty() && usage.is_some_and(|usage| usage.is_object()) && choices == Some(Value::Array(Vec::new()))
    };
    if matches!(exchange.api, Api::OpenAiChat | Api::OpenAiCompletions) && exchange.is_stream() {
        frames(&exchange.body).into_iter().find(is_usage_only)
    } else {
        None
    }
}

fn vector(counts: &Value) -> Vector {
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    Vector {
        uncached_input: count("uncached_input"),
        cache_read: count("cache_read"),
        cache_write_5m: count("cache_write_5m"),
        cache_write_1h: count("cache_write_1h"),
        output: count("output"),
        audio_input: count("audio_input"),
        audio_output: count("audio_output"),
        web_searches: count("web_searches"),
        reasoning: count("reasoning"),
        search_units: 0,
        guardrails: 0,
        tool_calls: 0,
        image_input: 0,
        image_output: 0,
        cache_read_audio: 0,
        code_sessions: 0,
    }
}

/// The expected vector, or nothing where it is missing, and its completeness.
fn expected(exchange: &Exchange) -> (Option<Vector>, &str) {
    let usage = &exchange.meta["expected_usage"];
    match usage["completeness"].as_str() {
        Some("missing") => (None, "missing"),
        Some(completeness) => {
            let ran = |tool: &str| exchange.meta["derived"]["tool_calls"][tool].as_u64().unwrap_or(0);
            let search_units = exchange.meta["other_units"]["search_units"].as_u64().unwrap_or(0);
            let search_units = search_units + ran("file_search_call");
            // Billed by the session and by the image, which no usage states.
            let untold = ran("code_interpreter_call") + ran("image_generation_call") > 0;
            let completeness = if untold { "lower_bound" } else { completeness };
            let (vector, tool_calls) = (vector(usage), called::count(exchange));
            let web_searches = vector.web_searches.max(called::searches(exchange));
            let vector = Vector { search_units, tool_calls, web_searches, ..vector };
            (Some(called::in_classes_of_their_own(exchange, vector)), completeness)
        }
        // An error, or tokens counted: nothing is billed.
        None => (Some(Vector::default()), "exact"),
    }
}

fn by_model(exchange: &Exchange, measured: &Measured) -> BTreeMap<String, Vector> {
    let answered = || exchange.text("model_answered").to_owned();
    // Reasoning is stated for all models together.
    let parts = measured.usage.parts.iter().map(|part| {
        (
            part.model.clone().unwrap_or_else(answered),
            Vector { reasoning: 0, web_searches: 0, tool_calls: 0, code_sessions: 0, ..part.vector },
        )
    });
    parts.collect()
}

/// The tier: what a recording says it is, and at Bedrock the latency, which has prices of its own and is in the answer only.
fn tier(exchange: &Exchange) -> String {
    let answer: Value = serde_json::from_slice(&exchange.body).unwrap_or_default();
    let latency = answer["performanceConfig"]["latency"].as_str();
    latency.unwrap_or_else(|| exchange.text("service_tier")).to_owned()
}

fn check(exchange: &Exchange, cut: Cut) -> Result<(), String> {
    let (passed, withheld, last, measured) = run(exchange, cut, false);
    let same = |what: &str, found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
        if found == wanted { Ok(()) } else { Err(format!("{what}: found {found}, expected {wanted}")) }
    };
    same("bytes", &passed, &exchange.body.to_vec())?;
    same("withheld", &withheld.len(), &0)?;
    let (vector, completeness) = expected(exchange);
    same("usage", &measured.usage.total(), &vector)?;
    same("completeness", &measured.usage.completeness.name(), &completeness)?;
    let models = &exchange.meta["expected_usage"]["by_model"];
    if let Value::Object(models) = models {
        let wanted: BTreeMap<_, _> = models.iter().map(|(name, counts)| (name.clone(), self::vector(counts))).collect();
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(name, vector)| (name, Vector { reasoning: 0, web_searches: 0, ..vector }))
            .collect();
        same("models", &by_model(exchange, &measured), &wanted)?;
    }
    if let cost @ Value::Number(_) = &exchange.meta["provider_cost_usd"] {
        same("cost", &measured.provider_cost, &usd(&cost.to_string()))?;
    }
    if exchange.status() < 400 && !(exchange.api.is_free() && exchange.api != Api::OpenAiResponsesRetrieve) {
        same("model", &measured.model_answered, &exchange.text("model_answered"))?;
        if let Some(id) = exchange.meta["response_id"].as_str() {
            same("id", &measured.response_id, &id)?;
        }
        same("service tier", &measured.service_tier, &tier(exchange))?;
        same("raw usage", &raw(&measured.raw_usage), &wanted_raw(exchange))?;
        same("truncated", &(measured.finish == Finish::Truncated), &exchange.flag("truncated"))?;
        let text = String::from_utf8_lossy(&exchange.body);
        let marks = MARKS.iter().find(|(api, _)| *api == exchange.api).map_or(&["[DONE]"][..], |(_, marks)| marks);
        // A mark that is cut is none, and where a guardrail stopped the prompt there is none.
        let blocked =
            exchange.meta["traps"].as_array().is_some_and(|traps| traps.contains(&"guardrail_blocked_input".into()));
        let marked = !exchange.flag("truncated") && !blocked && marks.iter().any(|mark| text.contains(mark));
        same("last", &last.is_some(), &(marked || !exchange.is_stream()))?;
    }
    if completeness == "missing" {
        let doubt = if exchange.flag("truncated") || matches!(measured.finish, Finish::ErrorInStream { .. }) {
            Doubt::Truncated
        } else {
            Doubt::NotReported
        };
        same("doubt", &measured.usage.completeness, &Completeness::Missing(doubt))?;
    }

    let (passed, withheld, _, stripped) = run(exchange, cut, true);
    let usage = usage_frame(exchange).unwrap_or_default();
    same("withheld frame", &String::from_utf8_lossy(&withheld), &String::from_utf8_lossy(usage))?;
    let offset = || (usage.as_ptr() as usize) - (exchange.body.as_ptr() as usize);
    let at = if usage.is_empty() { 0 } else { offset() };
    let rest = [&exchange.body[..at], &exchange.body[at + usage.len()..]].concat();
    same("bytes without usage", &passed, &rest)?;
    same("measured when stripped", &stripped, &measured)
}

/// What marks the last frame of a stream, where it is not `[DONE]`. Gemini's have no mark, and Bedrock's are encoded.
const MARKS: &[(Api, &[&str])] = &[
    (Api::AnthropicMessages, &["message_stop"]),
    (Api::OpenAiResponses, &["\"response.completed\"", "\"response.incomplete\"", "\"response.failed\""]),
    (Api::BedrockConverseStream, &[":event-type\u{7}\0\u{8}metadata"]),
    (Api::BedrockInvokeStream, &[":event-type"]),
    (Api::CohereChat, &["\"message-end\""]),
    (Api::CohereV1Chat, &["\"stream-end\""]),
];

/// An amount of dollars, which may stand with a negative power of ten.
fn usd(text: &str) -> Option<Pico> {
    let plain = match text.split_once('e') {
        None => text.to_owned(),
        Some((digits, power)) => {
            let power: usize = power.strip_prefix('-')?.parse().ok()?;
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            format!("0.{}{whole}{fraction}", "0".repeat(power - whole.len()))
        }
    };
    Pico::parse_usd(&plain)
}

/// The usage objects that were kept.
fn raw(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Array(several)) => several,
        Ok(one) => vec![one],
        Err(_) => Vec::new(),
    }
}

/// The usage objects that count: the last one, or all where they are read one over the other.
fn wanted_raw(exchange: &Exchange) -> Vec<Value> {
    let all = exchange.meta["raw_usage"].as_array().cloned().unwrap_or_default();
    let merges = matches!(exchange.api, Api::AnthropicMessages | Api::BedrockInvokeStream);
    let from = if merges { 0 } else { all.len().saturating_sub(1) };
    all[from..].iter().cloned().map(plain).collect()
}

/// A usage object as it is kept, where the corpus gathers it from several places of the answer.
fn plain(usage: Value) -> Value {
    match usage.get("predictions[].embeddings.statistics.token_count").and_then(Value::as_array) {
        Some(counts) => serde_json::json!({ "token_count": counts.iter().filter_map(Value::as_u64).sum::<u64>() }),
        None => usage,
    }
}

#[test]
fn every_exchange_is_metered_as_recorded() {
    let Some(corpus) = corpus() else { return };
    let exchanges = exchanges(&corpus);
    assert!(exchanges.len() >= 1_559, "only {} exchanges in {}", exchanges.len(), corpus.display());
    let mut wrong = Vec::new();
    for exchange in &exchanges {
        let known = EXPECTATION_IS_WRONG.iter().any(|(id, _)| *id == exchange.id);
        let cuts = [Cut::Every(64 * 1024), Cut::AtFrames, Cut::Every(7), Cut::Every(1)];
        // A large document in single bytes takes long and shows nothing that a small one does not.
        let mut cuts = cuts.into_iter().take(if exchange.body.len() > 32 * 1024 { 3 } else { 4 });
        let result = cuts.try_for_each(|cut| check(exchange, cut).map_err(|why| format!("{cut:?}: {why}")));
        match result {
            Err(why) if !known => wrong.push(format!("{} {}: {why}", exchange.id, exchange.text("api"))),
            Ok(()) if known => wrong.push(format!("{} is listed as wrong but passes", exchange.id)),
            _ => {}
        }
    }
    println!("{} of {} exchanges are metered as expected", exchanges.len() - wrong.len(), exchanges.len());
    assert!(wrong.is_empty(), "{} exchanges:\n{}", wrong.len(), wrong.join("\n"));
}

/// The body of a recorded request; nothing where it was not recorded.
fn request(corpus: &Path, id: &str) -> Option<Bytes> {
    let file = fs::read(corpus.join(format!("{id}.request.json"))).expect("a request");
    let request: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&file).expect("JSON");
    let recorded = request.get("recorded").is_none_or(|recorded| recorded.get() == "true");
    request.get("body").filter(|_| recorded).map(|body| Bytes::copy_from_slice(body.get().as_bytes()))
}

/// The APIs whose requests name the model in their path.
const IN_PATH: [Api; 8] = [
    Api::GeminiGenerateContent,
    Api::GeminiEmbeddings,
    Api::GeminiCountTokens,
    Api::BedrockConverse,
    Api::BedrockConverseStream,
    Api::BedrockInvoke,
    Api::BedrockInvokeStream,
    Api::BedrockCountTokens,
];

/// What a body has to be with a cap of one token.
fn capped(api: Api, mut body: Value) -> Value {
    let own = CapMember::of(api);
    let given = ["max_tokens", "max_completion_tokens"].map(|name| body[name].is_number());
    match own.map(|own| (own.within(), own.name())) {
        Some((Some(within), name)) => body[within][name] = 1.into(),
        Some((None, name)) => body[name] = 1.into(),
        None => body["max_tokens"] = 1.into(),
    }
    // Where it is the only one, the other one comes in its place.
    if let (None, [_, true], Some(members)) = (own, given, body.as_object_mut()) {
        drop(members.remove("max_completion_tokens"));
        members.extend(given[0].then(|| ("max_completion_tokens".to_owned(), 1.into())));
    }
    body.as_object_mut().expect("an object").retain(|name, value| name != "max_completion_tokens" || !value.is_null());
    body
}

#[test]
fn requests_are_read_as_recorded_and_edited_in_place() {
    let Some(corpus) = corpus() else { return };
    let mut count = 0;
    let own = |exchange: &Exchange| {
        let is_read = exchange.api != Api::OpenAiResponsesRetrieve && exchange.status() < 400;
        exchange.text("api") == exchange.api.name() && is_read
    };
    for exchange in exchanges(&corpus).into_iter().filter(own) {
        let (api, id) = (exchange.api, &exchange.id);
        let Some(body) = request(&corpus, id) else { continue };
        let (in_path, asked) = (IN_PATH.contains(&api), exchange.text("model_requested"));
        let given = match in_path {
            true => Given { model: Some(asked), streams: Some(exchange.flag("stream")), ..Given::default() },
            false => Given::default(),
        };
        let (parsed, _) = read(api, &body, &given).unwrap_or_else(|problem| panic!("{id}: {problem}"));
        assert_eq!(parsed.model, asked, "{id}");
        assert_eq!(parsed.stream, api.operation().has_output() && exchange.flag("stream"), "{id}");
        assert_eq!(parsed.edit(&Edits::default()).as_ptr(), body.as_ptr(), "{id}");
        let cap = Some(Cap { member: CapMember::of(api).unwrap_or(CapMember::MaxTokens), tokens: 1 });
        let edits = Edits { model: Some("another").filter(|_| !in_path), ask_usage: true, cap };
        let mut wanted = capped(api, serde_json::from_slice(&body).expect("JSON"));
        if !in_path {
            wanted["model"] = "another".into();
        }
        if matches!(api, Api::OpenAiChat | Api::OpenAiCompletions) && parsed.stream {
            wanted["stream_options"]["include_usage"] = true.into();
        }
        let edited: Value = serde_json::from_slice(&parsed.edit(&edits)).expect("JSON");
        assert_eq!(edited, wanted, "{id}");
        count += 1;
    }
    assert!(count > 1_100, "only {count} requests");
}
