//! The sandbox's answers add up, in every dialect.

use super::*;

fn ask(api: Api, body: &Value) -> (Answer, Vec<String>) {
    let mut answer = answer(api, body.to_string().as_bytes(), Duration::ZERO, Time::ZERO);
    let mut frames = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(frame)) = answer.body.poll_frame(&mut cx) {
        frames.push(String::from_utf8(frame.to_vec()).unwrap());
    }
    (answer, frames)
}

fn data(frame: &str) -> Value {
    let line = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(line).unwrap()
}

fn chat(tokens: u64, more: &Value) -> Value {
    let mut body =
        json!({ "model": format!("sandbox/{tokens}"), "messages": [{ "role": "user", "content": "12345" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_whole_answer_reports_what_it_says() {
    let (answer, frames) = ask(Api::OpenAiChat, &chat(10, &json!({})));
    let value: Value = serde_json::from_str(&frames[0]).unwrap();
    assert_eq!((answer.status.as_u16(), answer.is_stream, frames.len()), (200, false, 1));
    assert_eq!(value["usage"], json!({ "prompt_tokens": 2, "completion_tokens": 10, "total_tokens": 12 }));
    assert_eq!(value["choices"][0]["message"]["content"].as_str().unwrap().split_whitespace().count(), 10);
    assert_eq!(value["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_cap_ends_it_as_a_provider_would() {
    let (_, frames) = ask(Api::OpenAiChat, &chat(10, &json!({ "max_completion_tokens": 3 })));
    let value: Value = serde_json::from_str(&frames[0]).unwrap();
    assert_eq!(
        (&value["usage"]["completion_tokens"], &value["choices"][0]["finish_reason"]),
        (&json!(3), &json!("length"))
    );
    let (_, frames) = ask(Api::AnthropicMessages, &chat(10, &json!({ "max_tokens": 3 })));
    let value: Value = serde_json::from_str(&frames[0]).unwrap();
    assert_eq!((&value["usage"]["output_tokens"], &value["stop_reason"]), (&json!(3), &json!("max_tokens")));
}

#[test]
fn a_chat_stream_says_the_whole_and_usage_only_if_asked() {
    for (tokens, asked) in [(0, false), (1, true), (9, true), (9, false)] {
        let more = json!({ "stream": true, "stream_options": { "include_usage": asked } });
        let (_, frames) = ask(Api::OpenAiChat, &chat(tokens, &more));
        let said: String = frames
            .iter()
            .filter(|frame| !frame.contains("[DONE]"))
            .filter_map(|frame| data(frame)["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(said, text(0, tokens));
        assert_eq!(frames.last().unwrap(), "data: [DONE]\n\n");
        let usage = data(&frames[frames.len() - 2]);
        assert_eq!(usage["usage"]["completion_tokens"].as_u64(), asked.then_some(tokens));
    }
}

#[test]
fn a_messages_stream_has_every_event_once() {
    let (_, frames) = ask(Api::AnthropicMessages, &chat(6, &json!({ "stream": true, "max_tokens": 100 })));
    let kinds: Vec<String> = frames.iter().map(|frame| data(frame)["type"].as_str().unwrap().to_owned()).collect();
    let delta = "content_block_delta";
    let wanted =
        ["message_start", "content_block_start", delta, delta, "content_block_stop", "message_delta", "message_stop"];
    assert_eq!(kinds, wanted);
    assert_eq!(data(&frames[0])["message"]["usage"]["input_tokens"], 2);
    assert_eq!(data(&frames[5])["usage"]["output_tokens"], 6);
}

#[test]
fn embeddings_have_as_many_dimensions_as_the_model_says() {
    for format in ["float", "base64"] {
        let body = json!({ "model": "sandbox/8", "input": ["abcd", "e"], "encoding_format": format });
        let (_, frames) = ask(Api::OpenAiEmbeddings, &body);
        let value: Value = serde_json::from_str(&frames[0]).unwrap();
        assert_eq!(value["data"].as_array().unwrap().len(), 2);
        assert_eq!(value["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
        let size = value["data"][1]["embedding"].as_array().map(Vec::len);
        assert_eq!(size.unwrap_or(8), 8);
    }
}

#[test]
fn what_it_cannot_answer_it_refuses_in_the_dialect() {
    let (answer, frames) = ask(Api::OpenAiChat, &json!({ "model": "gpt-5", "messages": [] }));
    assert_eq!((answer.status.as_u16(), frames[0].contains("not_found_error")), (404, true));
    let (answer, frames) = ask(Api::AnthropicMessages, &chat(1, &json!({})));
    assert_eq!((answer.status.as_u16(), frames[0].contains("max_tokens")), (400, true));
    let (answer, _) = ask(Api::AnthropicCountTokens, &chat(1, &json!({})));
    assert_eq!(answer.status.as_u16(), 200);
}

#[test]
fn a_response_says_the_same_whole_and_in_events() {
    for (tokens, cap) in [(0, 9), (10, 9), (9, 9)] {
        let body = json!({ "model": format!("sandbox/{tokens}"), "input": "12345", "max_output_tokens": cap });
        let (_, whole) = ask(Api::OpenAiResponses, &body);
        let whole: Value = serde_json::from_str(&whole[0]).unwrap();
        assert_eq!(whole["status"], if tokens > cap { "incomplete" } else { "completed" });
        assert_eq!(
            (&whole["usage"]["input_tokens"], &whole["usage"]["output_tokens"]),
            (&json!(2), &json!(tokens.min(cap)))
        );
        let mut streamed = body.clone();
        streamed["stream"] = true.into();
        let (answer, frames) = ask(Api::OpenAiResponses, &streamed);
        assert!(answer.is_stream);
        let events: Vec<Value> = frames.iter().map(|frame| data(frame)).collect();
        let said: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(whole["output"][0]["content"][0]["text"], said);
        let last = events.last().unwrap();
        assert_eq!(last["type"], format!("response.{}", whole["status"].as_str().unwrap()));
        assert_eq!(
            (&last["response"]["usage"], &last["response"]["output"][0]["content"]),
            (&whole["usage"], &whole["output"][0]["content"])
        );
    }
}
