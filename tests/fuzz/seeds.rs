//! What fuzzing begins from: inputs that are good, or nearly, and the words of their grammars.
//!
//! They are the repository's own (golden records, the configuration, the price book's form) and, where the corpus of recorded
//! exchanges stands beside it, answers and requests of providers, the shortest ones of each kind.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use gateway::meter::Framing;
use schemas::event::Api;
use serde_json::{Value, value::RawValue};

use super::bodies;

/// How many recorded exchanges of each API, streamed or not, are taken, and how long they are at most.
const RECORDED: usize = 4;
const RECORDED_MAX: usize = 6 * 1024;

const CHAT: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi \u00e9"}}],"usage":null}

: a comment
data: {"id":"c1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":" there"},"finish_reason":"stop"}]}

data: {"id":"c1","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":3}}}

data: [DONE]

"#;

const MESSAGES: &str = "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"model\":\"claude-opus-4\",\
\"usage\":{\"input_tokens\":9,\"cache_creation\":{\"ephemeral_5m_input_tokens\":2},\"output_tokens\":1,\"service_tier\":\"standard\"}}}\r\n\r\n\
event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\r\n\r\n\
event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\r\ndata: \"usage\":{\"output_tokens\":11}}\r\n\r\n\
event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n";

const WHOLE: &str = r#"{"id":"c1","model":"gpt-4o","choices":[{"message":{"role":"assistant","content":"Hello"}}],"service_tier":"default","usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}"#;

const REQUEST: &str = r#"{"model":"gpt-4o","stream":true,"stream_options":{"x":1},"max_tokens":64.0,"n":2,"messages":[{"role":"user","content":[{"type":"text","text":"caf\u00e9 \ud83d\ude00"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]}"#;

const HEAD: &str = "?model=gpt&k%65y=tg-fuzz-key&alt=sse
+X-Custom
+authorization
host: api.example
authorization: Bearer tg-fuzz-key
x-api-key: tg-fuzz-key
x-tollgate-tags: feature=search, team=a
connection: close, x-custom
x-custom: 1
cookie: a=b
content-type: application/json
set-cookie: a=b
transfer-encoding: chunked
x-ratelimit-limit-requests: 1";

const PRICES: &str = "models:
  - provider: openai
    names: [gpt-4o, \"gpt-4o-2024-*\"]
    context_window: 128000
    source: https://prices.example
    source_date: 2026-11-20
    prices:
      - { per_million: { input: 2.50, output: 10 }, per_unit: { web_search: 0.01 }, above: 200000, from: 2026-01-01 }
";

fn owned(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// A seed behind the bytes that say how it is to be taken.
fn behind(choice: [u8; 2], seed: &[u8]) -> Vec<u8> {
    [&choice, seed].concat()
}

pub(crate) fn amounts() -> Vec<Vec<u8>> {
    let amounts =
        ["100.00", "-0.000000000001", "6.4e1", "640E-1", "1e999999999999999999999", "0.00019325", "4e-05", "-0.0"];
    let spans = ["90s", "15 m", "24h", "366000000d", "512KiB", "9223372036854775807", "8388607TiB", "1 GB"];
    let instants = ["2026-11-01", "2026-11-01T12:30:00.5+02:00", "9999-12-31T23:59:59Z", "-009999-01-01T00:00:00Z"];
    let names = [
        "0123456789abcdefABCDEF0123456789",
        "https://api.example:8443/v1/",
        "http://[::1]:80/a%20b",
        "https://127.0.0.1",
        "https://a.b.example./",
    ];
    let edges = [i128::MIN, i128::MAX, -1, i128::from(i64::MIN)];
    let edges = edges.iter().map(|edge| edge.to_le_bytes().to_vec());
    [&amounts[..], &spans, &instants, &names].iter().flat_map(|seeds| owned(seeds)).chain(edges).collect()
}

pub(crate) fn config() -> Vec<Vec<u8>> {
    let own = fs::read_to_string(root().join("tollgate.yaml")).unwrap();
    let few = "tenants: &t [ { name: \"a${UNSET:-b}\", keys: [ { name: k, key: \"${KEY}\", tags: { env: prod } } ] } ]\nlisten: { gateway: \"127.0.0.1:${PORT}\" }\nlimits: *t\n";
    let json = r#"{"limits":[{"name":"l","scope":{"tenant":"a","tag.env":"*"},"unit":"usd","amount":"1.5","window":"day","mode":"hard"}]}"#;
    // A section by itself is read to its end more often than the whole.
    let mut seeds = owned(&[&own, few, json, PRICES]);
    let mut section = String::new();
    for line in own.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) && !section.is_empty() {
            seeds.push(std::mem::take(&mut section).into_bytes());
        }
        section.push_str(line);
        section.push('\n');
    }
    seeds.push(section.into_bytes());
    seeds
}

pub(crate) fn headers() -> Vec<Vec<u8>> {
    owned(&[
        HEAD,
        "authorization: bearer tg-fuzz-key\nx-tollgate-tags: a=b,c=\u{e9}\nhost: a\ncontent-length: 1",
        "?key=tg-fuzz-key",
        "connection: \u{e9}, x-custom\nx-custom: 1\n+x-custom",
    ])
}

pub(crate) fn json() -> Vec<Vec<u8>> {
    let odd = [
        r#" { "a" : [1, -0.0e-5, 1.7976931348623157e308, true, null], "\u0061\ud83d\ude00" : "\/\b\n\"\\", "a":{} } "#,
        r#"["\ud83d", "\ude00\ud83d x", "é\u00e9", "plain text that is longer than one block of sixty-four bytes, by some"]"#,
        r#"[[[[[[[[[[{"a":[[[[{"b":[]}]]]]}]]]]]]]]]]"#,
    ];
    let recorded =
        exchanges().into_iter().filter(|exchange| exchange.framing == Framing::Whole).map(|exchange| exchange.answer);
    owned(&odd).into_iter().chain(owned(&[WHOLE, REQUEST])).chain(recorded).collect()
}

pub(crate) fn meter() -> Vec<Vec<u8>> {
    let (chat, strips) = (place(Api::OpenAiChat), bodies::meter::STRIPS);
    let (whole, events) = (place_of(Framing::Whole), place_of(Framing::Events));
    let mut seeds = vec![
        behind([chat, events | strips], CHAT.as_bytes()),
        behind([place(Api::AnthropicMessages), events], MESSAGES.as_bytes()),
        behind([chat, whole], WHOLE.as_bytes()),
        behind([place(Api::OpenAiEmbeddings), whole], WHOLE.as_bytes()),
        behind([place(Api::Passthrough), whole], WHOLE.as_bytes()),
        behind([chat, 16], br#"{"error":{"type":"rate_limit"}}"#),
    ];
    // Documents and frames of a size at which they are read otherwise: too large to be kept, and a member too large to be copied.
    let long = "x".repeat(300 * 1024);
    seeds.push(behind([chat, whole], WHOLE.replace("Hello", &long).as_bytes()));
    seeds.push(behind([chat, whole], WHOLE.replace("c1", &long).as_bytes()));
    seeds.push(behind([chat, events | strips], CHAT.replace("there", &long.repeat(4)).as_bytes()));
    for exchange in exchanges() {
        let strips = if exchange.framing == Framing::Events { strips } else { 0 };
        seeds.push(behind([place(exchange.api), place_of(exchange.framing) | strips], &exchange.answer));
    }
    seeds
}

pub(crate) fn eventstream() -> Vec<Vec<u8>> {
    let recorded = exchanges().into_iter().filter(|exchange| exchange.framing == Framing::Messages);
    let written = gateway::meter::eventstream::write(&[(":message-type", "event"), (":event-type", "metadata")], b"{}");
    recorded.map(|exchange| exchange.answer).chain([written]).collect()
}

/// The place of an API, and of a framing.
fn place(api: Api) -> u8 {
    u8::try_from(Api::ALL.iter().position(|known| *known == api).unwrap()).unwrap()
}

fn place_of(framing: Framing) -> u8 {
    u8::try_from(bodies::meter::FRAMINGS.iter().position(|known| *known == framing).unwrap()).unwrap()
}

pub(crate) fn request() -> Vec<Vec<u8>> {
    let (chat, form) = (place(Api::OpenAiChat), place(Api::OpenAiTranscriptions));
    let mut seeds = vec![behind([chat, 0x74], REQUEST.as_bytes()), behind([chat, 0x10], REQUEST.as_bytes())];
    seeds.push(behind([place(Api::OpenAiEmbeddings), 0], br#"{"model":"text-embedding-3-small","input":["a","b"]}"#));
    seeds.push(behind([place(Api::OpenAiResponses), 0x50], br#"{"model":"gpt-5","input":"a","max_output_tokens":9}"#));
    seeds.push(behind(
        [form, 0],
        b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n",
    ));
    for exchange in exchanges() {
        seeds.extend(exchange.request.map(|body| behind([place(exchange.api), 0x54], &body)));
    }
    seeds
}

pub(crate) fn encoded() -> Vec<Vec<u8>> {
    use gateway::fuzz::{CODINGS, encoded};
    let long = "a".repeat(70 << 10);
    let mut seeds = owned(&["\0", WHOLE, "\u{1}", "\u{2}", "\u{3}br"]);
    for (place, coding) in (0..).zip(CODINGS) {
        for body in [WHOLE, REQUEST, "", long.as_str()] {
            let Some(once) = encoded(coding, body.as_bytes()) else { continue };
            // Two members of a file are one body, and what is encoded twice is decoded once.
            let twice = [once.as_slice(), once.as_slice()].concat();
            seeds.extend([once, twice].map(|body| [&[place], body.as_slice()].concat()));
        }
    }
    seeds
}

pub(crate) fn record() -> Vec<Vec<u8>> {
    let piece = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let header = |name: &str, value: &[u8]| [piece(name.as_bytes()), piece(value)].concat();
    let own = [header("producer", &[7; 16]), header("seq", &[0, 0, 0, 0, 0, 0, 0, 9]), header("hash", &[1; 8])];
    let none = [piece(b"seq"), vec![255]].concat();
    let (short, other) = (header("seq", &[1; 7]), header("ce_id", b"x"));
    vec![
        own.concat(),
        [own.concat(), other, header("seq", &[2; 8])].concat(),
        [own.concat(), short].concat(),
        [own.concat(), none].concat(),
        own[..2].concat(),
    ]
}

pub(crate) fn telling() -> Vec<Vec<u8>> {
    let data = r#"{"provider":"openai","model":"gpt-4o","api":"openai.chat","tokens":{"input":20,"output":3},"cost_usd":"0.5"}"#;
    let event = format!(
        r#"{{"specversion":"1.0","id":"1","source":"urn:x","type":"tollgate.usage.v1","time":"2026-11-20T11:00:00Z","data":{data}}}"#
    );
    let binary = "content-type: application/json\nce-specversion: 1.0\nce-id: a%20b%22\nce-source: urn:x\nce-type: tollgate.usage.v1\n\
                  ce-time: 2026-11-20T11:00:00Z\nce-other: x";
    let (batch, one) = (
        "content-type: application/cloudevents-batch+json",
        "content-type: application/cloudevents+json; charset=utf-8",
    );
    owned(&[
        &format!("{binary}\n\n{data}"),
        &format!("{binary}\nx: y\n\n {data} "),
        &format!("{one}\n\n{event}"),
        &format!("{batch}\n\n[{event}, {event}]"),
        &format!("{batch}\n\n[]"),
        &format!("{batch}\n\n[{}]", vec!["{}"; 501].join(",")),
    ])
}

pub(crate) fn translation() -> Vec<Vec<u8>> {
    let clients = ["chat", "responses", "messages"];
    let providers = ["chat", "messages", "gemini", "converse", "cohere"];
    let place =
        |known: &[&str], name: &str| u8::try_from(known.iter().position(|known| *known == name).unwrap()).unwrap();
    let mut seeds = vec![
        behind([3, 0], br#"{"error":{"message":"no","type":"x","code":null}}"#),
        behind([3, 2], br#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#),
        behind([3, 3], br#"{"message":"no"}"#),
    ];
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root().join("gateway/tests/golden/translate")).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let who = name.split('-').nth(1).unwrap();
        if let Ok(body) = fs::read(case.join("request.json")) {
            seeds.push(behind([0, place(&clients, who)], &body));
        }
        if let Ok(body) = fs::read(case.join("answer.json")) {
            seeds.push(behind([1, place(&providers, who)], &body));
        }
        if let Ok(frames) = fs::read_to_string(case.join("stream.sse")) {
            let (mut name, mut lines) = ("", String::new());
            for line in frames.lines() {
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event;
                } else if let Some(data) = line.strip_prefix("data: ") {
                    lines.push_str(&format!("{name}|{data}\n"));
                }
            }
            seeds.push(behind([2, place(&providers, who)], lines.as_bytes()));
        }
    }
    seeds
}

pub(crate) fn segment() -> Vec<Vec<u8>> {
    let golden = golden().into_values().collect::<Vec<_>>().concat();
    vec![golden, b"\x01\x02\x03\x04\x02a few records of a journal, of which one is empty".to_vec(), [9; 40].to_vec()]
}

pub(crate) fn sse() -> Vec<Vec<u8>> {
    let crs = CHAT.replace('\n', "\r");
    let marked = format!("\u{feff}{}", MESSAGES.replace("\r\n\r\n", "\r\n\n"));
    let odd = "data\ndata:\ndata:  a\nid: 1\n\ndata: {\"usage\":{}}\n\n\r\n\r\r\n: only a comment\n\ndata: cut";
    let recorded =
        exchanges().into_iter().filter(|exchange| exchange.framing == Framing::Events).map(|exchange| exchange.answer);
    owned(&[CHAT, MESSAGES, &crs, &marked, odd, ""]).into_iter().chain(recorded).collect()
}

/// Each is `google.protobuf.Any`: a name, and a message.
#[cfg(feature = "query")]
pub(crate) fn flight() -> Vec<Vec<u8>> {
    let field = |number: u8, value: &[u8]| [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat();
    let any = |name: &str, value: &[u8]| {
        [field(1, format!("type.googleapis.com/arrow.flight.protocol.sql.{name}").as_bytes()), field(2, value)].concat()
    };
    let sql = field(1, b"SELECT ?, '?' FROM usage WHERE a = $2 -- ?");
    let asked = [sql.clone(), field(2, b"schema"), field(3, b"header"), field(4, b"body"), field(5, b"id")].concat();
    vec![
        any("CommandStatementQuery", &sql),
        any("CommandStatementQuery", &[sql, field(2, b"transaction")].concat()),
        any("TicketStatementQuery", &field(1, &asked)),
        any("CommandPreparedStatementQuery", &field(1, &asked)),
        any(
            "CommandGetTables",
            &[field(1, b"tollgate"), field(3, b"us%"), field(4, b"TABLE"), vec![5 << 3, 1]].concat(),
        ),
        any("CommandGetSqlInfo", &field(1, &[0, 1, 2, 0x90, 4])),
        any("CommandStatementUpdate", &[]),
    ]
}

/// The first byte says what it is of.
#[cfg(feature = "query")]
pub(crate) fn arrays() -> Vec<Vec<u8>> {
    owned(&[
        "\u{4}{a,\"it's\", b c ,NULL,\"c\\\"d\\\\\",\"\"}",
        "\u{4}{}",
        "\u{2}{1,-2,NULL}",
        "\u{8}{1.50,2e-3}",
        "\0{t,f,NULL}",
        "\u{a}{1.0,2.5e-1,1e300}",
        "\u{7}{\"2026-11-01 10:00:00+00\"}",
        "\u{4}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\u{19}\0\0\0\u{2}\0\0\0\u{1}\0\0\0\u{4}it's\0\0\0\0",
        "\u{3}\0\0\0\u{1}\0\0\0\0\0\0\0\u{14}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\u{8}\0\0\0\0\0\0\0\u{7}",
        "\u{4}\0\0\0\0\0\0\0\0\0\0\0\u{19}",
    ])
}

#[cfg(feature = "query")]
pub(crate) fn postgres() -> Vec<Vec<u8>> {
    owned(&[
        "\0\u{3}\0\0user\0alice\0database\0tollgate\0\0",
        "QSELECT 1\0",
        "Ps1\0SELECT $1\0\0\u{1}\0\0\0\u{17}",
        "Bp\0s1\0\0\u{1}\0\u{1}\0\u{2}\0\0\0\u{2}ab\0\0\0\0\0\u{1}\0\u{1}",
        "DSs1\0",
        "CPp\0",
        "Ep\0\0\0\0\u{5}",
        "S",
    ])
}

#[cfg(feature = "query")]
pub(crate) fn sql() -> Vec<Vec<u8>> {
    owned(&[
        "SELECT tenant, sum(cost_usd) AS cost FROM usage WHERE tag('env') = 'prod' AND time > now() - INTERVAL '1 day' GROUP BY 1",
        "WITH t AS (SELECT CAST(user_id AS BIGINT) AS n FROM usage u JOIN calls c ON u.call_id = c.call_id) SELECT n FROM t ORDER BY 1 LIMIT 2",
        "EXPLAIN SELECT row_number() OVER (PARTITION BY tenant ORDER BY time) FROM usage",
        "SELECT CASE WHEN a IS NULL THEN 1 ELSE -2.5e3 END, \"Odd\"\"name\", E'a\\n', $$x$$ FROM (VALUES (1, 'é')) v(a, b) /* a comment */",
        "SELECT 1 UNION ALL (SELECT 2 EXCEPT SELECT 3) -- the end",
        "COPY usage TO 'x.csv'; DROP TABLE usage",
        "SELECT f(g(h((((1))))))[1:2], ARRAY[1,2], a::INT, x LIKE '%' ESCAPE '!' FROM usage",
    ])
}

pub(crate) fn wire() -> Vec<Vec<u8>> {
    let golden = golden();
    let mut seeds = Vec::new();
    for (name, body) in &golden {
        let (kind, which) = name.split_once('-').unwrap();
        let place = bodies::wire::KINDS.iter().position(|known| *known == kind).unwrap();
        let place = u8::try_from(place).unwrap();
        // A state stands behind its key.
        seeds.push(match golden.get(&format!("key-{which}")).filter(|_| kind == "state") {
            Some(key) => [&[place, u8::try_from(key.len()).unwrap()], key.as_slice(), body].concat(),
            None => [&[place], body.as_slice()].concat(),
        });
    }
    seeds
}

pub(crate) fn events() -> Vec<Vec<u8>> {
    let head =
        r#"{"specversion":"1.0","id":"job/1","source":"urn:x","time":"2026-11-20T11:00:00Z","type":"tollgate.usage"#;
    let told = r#".v1","data":{"provider":"openai","model":"gpt-4o-mini","api":"openai.chat","tokens":{"input":1000,"cache_read":5,
        "output":2e1,"reasoning":5},"tags":{"env":"x","job":"7"},"cost_usd":"0.01","response_id":"r\u00e9","service_tier":"batch"}}"#;
    let amended = r#".amended.v1","traceparent":"00","data":{"provider":"anthropic","model":"claude-haiku-4-5","call_id":
        "01890a5d-ac96-774b-bcce-b302099a8057","attempt":2,"time":"2026-11-02T00:00:00+02:00","was":{"input":7},
        "tokens":{"input":9,"cache_write_1h":3,"web_search":1}}}"#;
    [told, amended].iter().map(|rest| format!("{head}{rest}").into_bytes()).collect()
}

pub(crate) fn checks() -> Vec<Vec<u8>> {
    let check = r#"{"call":"r1","subject":{"tenant":"acme","team":"t","user":"u","tags":{"b":"1"}},"provider":"openai","model":"gpt-4o",
        "api":"openai.chat","stream":true,"tags":{"env":"x"},"most":{"input":30,"output":6.4e1},"expires_in":60}"#;
    let request = r#"{"client_key":"k","provider":"p","request":{"model":"m","messages":[]}}"#;
    let settled = r#"{"call_id":"01890a5d-ac96-774b-bcce-b302099a8057","tokens":{"input":5,"output":7,"reasoning":3},"status":200,
        "outcome":"cut","completeness":"lower_bound","model":"m","service_tier":"batch","response_id":"r","cost_usd":"0.01"}"#;
    let part = |tag: u8, part: &[u8]| [&[tag, u8::try_from(part.len()).unwrap()], part].concat();
    let entry = |key: &str, value: &str| part(10, &[part(10, key.as_bytes()), part(18, value.as_bytes())].concat());
    let who = [entry("tenant", "acme"), entry("provider", "p"), entry("model", "m")].concat();
    let unit = |name: &str| [entry("unit", name), part(26, &[8, 200, 1])].concat();
    let frame = |descriptors: &[Vec<u8>]| {
        let message: Vec<u8> = descriptors.iter().flat_map(|descriptor| part(18, descriptor)).collect();
        [&[2, 0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message.as_slice()].concat()
    };
    let settle = [entry("call", "r1"), entry("settle", "y")].concat();
    vec![
        [&[0], check.as_bytes()].concat(),
        [&[0], request.as_bytes()].concat(),
        [&[1], settled.as_bytes()].concat(),
        frame(&[who.clone(), unit("input_tokens"), unit("output_tokens")]),
        frame(&[[who, entry("call", "r1"), entry("tag.env", "x")].concat()]),
        frame(&[settle, unit("status"), unit("cache_read"), unit("reasoning")]),
    ]
}

/// The words of a target's grammar.
pub(crate) fn words(target: &str) -> &'static [&'static str] {
    match target {
        "amounts" => &["e", "E-", ".", "-", "00", "KiB", "ms", "T00:00", "Z", "+02:00", "https://", "[::1]", ":0"],
        "checks" => {
            &["\"call\":", "\"most\":", "{}", "\"input\":9,", "unit", "output", "input_tokens", "settle", "\u{0}"]
        }
        "events" => {
            &["\"was\":", "\"tokens\":", "\"call_id\":", "\"id\":", "\"time\":", "{}", "null", ".v1", "\"input\":9,"]
        }
        "encoded" => &["\u{1f}\u{8b}\u{8}", "\u{28}", "aaaa"],
        "record" => &["\u{8}producer", "\u{3}seq\u{8}", "\u{4}hash", "\u{0}"],
        "telling" => &["\nce-id: ", "\nce-time: ", "%41", "\n\n", "\"data\":", "[", "]", "{}", ",", "\"id\":", "null"],
        "translation" => &[
            "\"role\":\"tool\",",
            "\"type\":\"text\",",
            "\"content\":[",
            "\"tool_calls\":[{}],",
            "\"index\":0,",
            "\n|{}",
            "[DONE]",
            "null",
            "\"usage\":{}",
            "\\u0000",
            "\"stop_reason\":\"end_turn\"",
        ],
        "config" => &[
            "${KEY}",
            "${UNSET}",
            "${PORT:-x}",
            "$${",
            "&a ",
            "*a",
            "\n  - ",
            ": ",
            "{ ",
            " }",
            "[",
            "]",
            "|\n",
            "? ",
            "---\n",
            "!!str ",
        ],
        "headers" => &[
            "\nconnection: ",
            "\n+",
            "\n?",
            "key=",
            "%6bey=",
            "%6B%65%79=",
            "&",
            "tg-fuzz-key",
            "Bearer ",
            "\ncookie: ",
            "env=",
            "\u{e9}",
        ],
        "json" | "request" => &[
            "null",
            "\\u00e9",
            "\\ud83d",
            "\\ude00",
            "\"model\":",
            "{\"a\":",
            "[[",
            "]]",
            "1e400",
            "\"\"",
            "\"stream\":true,",
            "\"max_tokens\":9,",
        ],
        "meter" | "sse" => &[
            "\n\n",
            "\r\n\r\n",
            "\r",
            "data: ",
            "data:",
            "[DONE]",
            "\"usage\":{",
            "\u{feff}",
            "\"choices\":[]",
            ": x\n",
            "event: message_stop\n",
            "\"error\":{}",
        ],
        "flight" => &["type.googleapis.com/arrow.flight.protocol.sql.", "CommandGetTables", "\n", "\u{12}", "?", "\0"],
        "arrays" => &["{", "}", ",", "\"", "\\", "'", "NULL", "\0\0\0\u{1}", "\u{7f}\u{7f}\u{7f}\u{7f}", "1e300"],
        "postgres" => &["\0", "\0\0\0\u{4}", "\0\u{1}", "\u{7f}\u{7f}", "B", "P", "SELECT $1"],
        "sql" => &[
            "SELECT ",
            "(",
            ")",
            "((((((((",
            "'",
            "$$",
            "/*",
            "--",
            " UNION ",
            " FROM usage ",
            "tag('env')",
            "EXPLAIN ",
            ";",
            " OR ",
            "WITH t AS ",
            "NOT ",
            "f(",
        ],
        _ => &[],
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The golden records, by name.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(root().join("schemas/golden/v1")).unwrap().map(|file| file.unwrap().path());
    let records = files.filter(|path| path.extension().is_some_and(|end| end == "bin"));
    records.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

/// A recorded exchange.
struct Exchange {
    api: Api,
    framing: Framing,
    answer: Vec<u8>,
    request: Option<Vec<u8>>,
}

/// The shortest recorded exchanges of each API, streamed or not; none where there is no corpus.
fn exchanges() -> Vec<Exchange> {
    let beside = || root().join("../shared/corpus");
    let corpus = env::var_os("TOLLGATE_CORPUS").map_or_else(beside, PathBuf::from);
    let Ok(files) = fs::read_dir(&corpus) else { return Vec::new() };
    let mut found: Vec<_> = files.filter_map(|file| recorded(&corpus, file.unwrap().file_name().to_str()?)).collect();
    found.sort_by(|a, b| (a.answer.len(), &a.answer).cmp(&(b.answer.len(), &b.answer)));
    let mut taken = BTreeMap::new();
    found.retain(|exchange| {
        let count = taken.entry((place(exchange.api), place_of(exchange.framing))).or_insert(0);
        *count += 1;
        *count <= RECORDED
    });
    found
}

fn recorded(corpus: &Path, name: &str) -> Option<Exchange> {
    let id = name.strip_suffix(".meta.json")?;
    let meta: Value = serde_json::from_slice(&fs::read(corpus.join(name)).unwrap()).unwrap();
    let api = Api::ALL.into_iter().find(|api| meta["api"] == api.name()).filter(|_| meta["status"] == 200)?;
    let of = |end: &str| fs::read(corpus.join(format!("{id}.{end}"))).ok().filter(|body| body.len() <= RECORDED_MAX);
    let kinds = [
        ("response.sse", Framing::Events),
        ("response.eventstream", Framing::Messages),
        ("response.ndjson", Framing::Lines),
        ("response.json", Framing::Whole),
    ];
    let (answer, framing) = kinds.into_iter().find_map(|(end, framing)| Some((of(end)?, framing)))?;
    let request = of("request.json").and_then(|file| {
        let request: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&file).ok()?;
        Some(request.get("body")?.get().as_bytes().to_vec())
    });
    Some(Exchange { api, framing, answer, request })
}
