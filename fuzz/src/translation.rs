//! Calls that are carried from every client's dialect to every provider's, and answers back: what is written can be read.
//!
//! The first byte says whether the rest is a request, an answer, a stream or an error; the second, in which dialect.

use gateway::translate::{Client, End, Flavor, Provider, Request, Stream, To, Told, answer, error};
use schemas::{json::Tree, tokens::Vector};
use serde_json::Value;

/// The dialects of clients and of providers, by the second byte of an input.
pub const CLIENTS: [Client; 3] = [Client::OpenAiChat, Client::OpenAiResponses, Client::AnthropicMessages];
/// See [`CLIENTS`].
pub const PROVIDERS: [Provider; 5] = [
    Provider::OpenAiChat,
    Provider::AnthropicMessages,
    Provider::Gemini,
    Provider::BedrockConverse,
    Provider::CohereChat,
];

/// Carries the input.
pub fn check(input: &[u8]) {
    let Some(([kind, dialect], body)) = input.split_first_chunk::<2>() else { return };
    let (client, provider) = (usize::from(*dialect) % CLIENTS.len(), usize::from(*dialect) % PROVIDERS.len());
    match kind % 4 {
        0 => request(CLIENTS[client], body),
        1 => CLIENTS.iter().for_each(|client| whole(PROVIDERS[provider], *client, body)),
        2 => CLIENTS.iter().for_each(|client| stream(PROVIDERS[provider], *client, body)),
        _ => {
            for client in CLIENTS {
                let written = document(&error(PROVIDERS[provider], client, 429, body, "c1"), "an error");
                assert!(written.get("error").is_some(), "{written}");
            }
        }
    }
}

fn request(client: Client, body: &[u8]) {
    let Ok(request) = Request::read(client, body) else { return };
    for provider in PROVIDERS {
        for (old_cap, flavor) in [(false, Flavor::OpenAi), (true, Flavor::Common), (true, Flavor::Mistral)] {
            let to = To { provider, model: "there", max_output: Some(8_192), old_cap, flavor, ask_usage: true };
            let Ok(written) = request.write(&to) else { continue };
            document(&written.body, "a request");
            said(&written.dropped);
            assert_eq!(request.write(&to), Ok(written), "written again");
        }
    }
}

/// An answer that is carried whole is carried as a stream as well, and what is not as neither.
fn whole(provider: Provider, client: Client, body: &[u8]) {
    let streamed = Stream::new(provider, "there", client, told(client)).whole(body, Some(&USAGE));
    let Ok(written) = answer(provider, "there", client, body, &told(client), Some(&USAGE)) else {
        assert!(streamed.is_err(), "{streamed:?}");
        return;
    };
    document(&written.body, "an answer");
    said(&written.dropped);
    frames(&streamed.unwrap_or_else(|why| panic!("it is carried whole: {why}")));
}

/// Every event of the input is pushed, and the stream ended as it should be: what comes out are frames that can be read, and nothing
/// comes after the end.
fn stream(provider: Provider, client: Client, body: &[u8]) {
    let mut stream = Stream::new(provider, "there", client, told(client));
    let mut out = String::new();
    let mut end = End::Complete;
    for line in body.split(|byte| *byte == b'\n') {
        // A line is the name of an event, a bar, and its data.
        let bar = line.iter().position(|byte| *byte == b'|').unwrap_or(0);
        let (name, data) = (str::from_utf8(&line[..bar]).unwrap_or_default(), line.get(bar + 1..).unwrap_or_default());
        match stream.push(name, data) {
            Ok(frames) => out.push_str(&frames),
            Err(why) => {
                end = End::Broken(why.to_string());
                break;
            }
        }
    }
    out.push_str(&stream.end(end, Some(&USAGE)));
    assert_eq!(stream.end(End::Complete, None), "", "it ends once");
    assert_eq!(stream.push("", b"{}"), Ok(String::new()), "nothing comes after");
    frames(&out);
}

/// What a client is sent of a stream.
fn frames(out: &str) {
    for line in out.lines().filter(|line| !line.is_empty() && !line.starts_with("event: ") && *line != "data: [DONE]") {
        let data = line.strip_prefix("data: ").unwrap_or_else(|| panic!("no frame of a stream: {line:?}"));
        document(data, "a frame");
    }
    assert!(out.is_empty() || out.ends_with("\n\n"), "{out:?}");
}

const USAGE: Vector = Vector {
    uncached_input: 100,
    cache_read: 40,
    cache_write_5m: 5,
    cache_write_1h: 0,
    output: 60,
    audio_input: 0,
    audio_output: 0,
    web_searches: 0,
    search_units: 0,
    guardrails: 0,
    tool_calls: 0,
    image_input: 0,
    image_output: 0,
    cache_read_audio: 0,
    code_sessions: 0,
    reasoning: 12,
};

fn told(client: Client) -> Told {
    let asked: &[u8] = match client {
        Client::OpenAiResponses => br#"{"model":"m","input":"hi"}"#,
        Client::OpenAiChat => br#"{"model":"m","messages":[],"stream_options":{"include_usage":true}}"#,
        Client::AnthropicMessages => br#"{"model":"m","messages":[]}"#,
    };
    let read = Request::read(client, asked).unwrap_or_else(|why| panic!("{why}"));
    read.told("0190b3c4", 1_790_000_000, 17)
}

/// What is written is an object that anybody can read, in which nothing stands twice.
fn document(text: &str, what: &str) -> Value {
    let read: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{what} is no JSON: {why}: {text}"));
    assert!(read.is_object(), "{what} is no object: {text}");
    assert!(Tree::read(text.as_bytes()).is_ok(), "{what} cannot be read by the gateway: {text}");
    read
}

/// What was not carried goes into a header.
fn said(dropped: &[String]) {
    for line in dropped {
        assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
    }
}
