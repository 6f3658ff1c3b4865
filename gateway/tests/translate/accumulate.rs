//! Streams as their clients put them together: the whole answer that the events of each dialect add up to.
//!
//! Written from the dialects' documentation, with no code of the translation's; the official SDKs' own are in `tests/translation.rs`.

use serde_json::{Map, Value, json};

/// The data of each frame of server-sent events, with the frame's name.
pub(crate) fn frames(body: &str) -> Vec<(String, String)> {
    let body = body.replace("\r\n", "\n");
    let mut found = Vec::new();
    // What follows the last empty line was cut off.
    let whole = body.rfind("\n\n").map_or("", |end| &body[..end]);
    for frame in whole.split("\n\n") {
        let (mut name, mut data) = (String::new(), Vec::new());
        for line in frame.lines() {
            if let Some(value) = line.strip_prefix("event:") {
                name = value.trim().to_owned();
            } else if let Some(value) = line.strip_prefix("data:") {
                data.push(value.strip_prefix(' ').unwrap_or(value));
            }
        }
        if !data.is_empty() {
            found.push((name, data.join("\n")));
        }
    }
    found
}

/// The messages of an Amazon event stream: the name and the payload of each whole one.
pub(crate) fn event_stream(mut body: &[u8]) -> Vec<(String, String)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
    let mut found = Vec::new();
    while body.len() >= 16 && body.len() >= number(&body[..4]) {
        let (total, headers) = (number(&body[..4]), number(&body[4..8]));
        let (mut rest, mut name) = (&body[12..12 + headers], String::new());
        while !rest.is_empty() {
            let length = usize::from(rest[0]);
            let key = &rest[1..=length];
            let size = usize::from(u16::from_be_bytes(rest[length + 2..length + 4].try_into().unwrap()));
            let value = &rest[length + 4..length + 4 + size];
            if key == b":event-type" || key == b":exception-type" {
                name = String::from_utf8(value.to_vec()).unwrap();
            }
            rest = &rest[length + 4 + size..];
        }
        found.push((name, String::from_utf8(body[12 + headers..total - 4].to_vec()).unwrap()));
        body = &body[total..];
    }
    found
}

fn push(to: &mut Value, more: &Value) {
    if let Some(more) = more.as_str() {
        let so_far = to.as_str().unwrap_or_default().to_owned();
        *to = Value::from(so_far + more);
    }
}

/// Parses the data of frames that are JSON.
pub(crate) fn values(frames: &[(String, String)]) -> Vec<Value> {
    frames.iter().filter(|(_, data)| data != "[DONE]").map(|(_, data)| serde_json::from_str(data).unwrap()).collect()
}

/// A message of Anthropic's; `stop_reason` is null if it was cut.
pub(crate) fn message(events: &[Value]) -> Value {
    let mut message = Value::Null;
    for event in events {
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = &mut message["content"].as_array_mut().unwrap();
                let block = block.last_mut().unwrap();
                let delta = &event["delta"];
                match delta["type"].as_str().unwrap() {
                    "text_delta" => push(&mut block["text"], &delta["text"]),
                    "thinking_delta" => push(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => push(&mut block["signature"], &delta["signature"]),
                    "input_json_delta" => push(&mut block["partial"], &delta["partial_json"]),
                    _ => {}
                }
            }
            "message_delta" => {
                for (name, value) in event["delta"].as_object().unwrap() {
                    message[name] = value.clone();
                }
                for (name, value) in event["usage"].as_object().unwrap() {
                    message["usage"][name] = value.clone();
                }
                message["tollgate"] = event["tollgate"].clone();
            }
            _ => {}
        }
    }
    for block in message["content"].as_array_mut().into_iter().flatten() {
        if let Some(partial) = block.as_object_mut().unwrap().remove("partial") {
            let partial = partial.as_str().unwrap();
            block["input"] = serde_json::from_str(if partial.is_empty() { "{}" } else { partial }).unwrap_or_default();
        }
    }
    message
}

/// A chat completion.
pub(crate) fn completion(chunks: &[Value]) -> Value {
    let mut whole = json!({});
    let (mut message, mut finish, mut calls) = (Map::new(), Value::Null, Vec::<Value>::new());
    for chunk in chunks {
        for name in ["id", "created", "model", "usage", "tollgate"] {
            if !chunk[name].is_null() {
                whole[name] = chunk[name].clone();
            }
        }
        let mut choices = chunk["choices"].as_array().into_iter().flatten();
        let Some(choice) = choices.find(|choice| choice["index"] == 0) else { continue };
        for (name, value) in choice["delta"].as_object().into_iter().flatten() {
            match name.as_str() {
                "tool_calls" => value.as_array().into_iter().flatten().for_each(|call| add_call(&mut calls, call)),
                "reasoning_details" => {
                    let details = message.entry(name.clone()).or_insert(json!([])).as_array_mut().unwrap();
                    details.extend(value.as_array().into_iter().flatten().cloned());
                }
                // Mistral's form of reasoning.
                "content" if value.is_array() => {
                    for part in value.as_array().unwrap() {
                        push(message.entry("content").or_insert(Value::Null), &part["text"]);
                        let thoughts = message.entry("reasoning_content").or_insert(Value::Null);
                        part["thinking"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .for_each(|part| push(thoughts, &part["text"]));
                    }
                }
                "role" => drop(message.insert(name.clone(), value.clone())),
                _ => push(message.entry(name.clone()).or_insert(Value::Null), value),
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), Value::from(calls));
    }
    whole["choices"] = json!([{ "index": 0, "message": message, "finish_reason": finish }]);
    whole
}

fn add_call(calls: &mut Vec<Value>, call: &Value) {
    let place = call["index"].as_u64().map_or(calls.len(), |place| place as usize);
    // One index for several calls happens; then the ids tell them apart.
    let is_new = calls
        .get(place)
        .is_none_or(|known| call["id"].as_str().is_some_and(|id| !id.is_empty()) && known["id"] != call["id"]);
    if is_new {
        let mut call = call.clone();
        call.as_object_mut().unwrap().remove("index");
        return calls.push(call);
    }
    let known = &mut calls[place];
    push(&mut known["function"]["arguments"], &call["function"]["arguments"]);
}

/// An answer of Gemini's: the parts of every chunk, and the rest of the last.
pub(crate) fn candidates(chunks: &[Value]) -> Value {
    let mut whole = chunks.last().cloned().unwrap_or_default();
    let parts = chunks.iter().filter_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array()).flatten();
    let parts: Vec<Value> = parts.cloned().collect();
    whole["candidates"][0]["content"] = json!({ "role": "model", "parts": parts });
    whole
}

/// An answer of Converse.
pub(crate) fn converse(events: &[(String, String)]) -> Value {
    let (mut content, mut whole) = (Vec::<Value>::new(), json!({}));
    for (name, data) in events {
        let event: Value = serde_json::from_str(data).unwrap();
        let place = event["contentBlockIndex"].as_u64().unwrap_or_default() as usize;
        if name.starts_with("contentBlock") && content.len() <= place {
            content.resize(place + 1, json!({}));
        }
        match name.as_str() {
            "contentBlockStart" => content[place] = event["start"].clone(),
            "contentBlockDelta" => {
                let (block, delta) = (&mut content[place], &event["delta"]);
                if delta["text"].is_string() {
                    push(&mut block["text"], &delta["text"]);
                } else if delta["toolUse"].is_object() {
                    push(&mut block["toolUse"]["input"], &delta["toolUse"]["input"]);
                } else if delta["reasoningContent"].is_object() {
                    for member in ["text", "signature"] {
                        let said = &mut block["reasoningContent"]["reasoningText"];
                        if delta["reasoningContent"][member].is_string() {
                            push(&mut said[member], &delta["reasoningContent"][member]);
                        }
                    }
                }
            }
            "messageStop" => whole = event,
            _ => {}
        }
    }
    for block in &mut content {
        if let Some(input) = block["toolUse"]["input"].as_str() {
            block["toolUse"]["input"] = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
        } else if block["toolUse"].is_null() {
            block.as_object_mut().unwrap().remove("toolUse");
        }
    }
    whole["output"] = json!({ "message": { "role": "assistant", "content": content } });
    whole
}

/// An answer of Cohere's.
pub(crate) fn cohere(events: &[Value]) -> Value {
    let (mut content, mut calls, mut plan) = (Vec::<Value>::new(), Vec::<Value>::new(), Value::Null);
    let mut whole = json!({});
    for event in events {
        let message = &event["delta"]["message"];
        match event["type"].as_str().unwrap() {
            "content-start" => content.push(message["content"].clone()),
            "content-delta" => {
                for name in ["text", "thinking"] {
                    push(&mut content.last_mut().unwrap()[name], &message["content"][name]);
                }
            }
            "tool-plan-delta" => push(&mut plan, &message["tool_plan"]),
            "tool-call-start" => calls.push(message["tool_calls"].clone()),
            "tool-call-delta" => {
                let call = calls.last_mut().unwrap();
                push(&mut call["function"]["arguments"], &message["tool_calls"]["function"]["arguments"]);
            }
            "message-end" => whole = event["delta"].clone(),
            _ => {}
        }
    }
    whole["message"] = json!({ "role": "assistant", "tool_plan": plan, "content": content, "tool_calls": calls });
    whole
}
