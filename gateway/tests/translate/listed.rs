//! What has no place at a provider as it was sent: it is made to fit and listed, or refused, and an answer says a thing once.

use gateway::translate::{Client, Flavor, Provider, Request, Stream, To, Told, answer};
use serde_json::{Value, json};

use crate::corpus::PROVIDERS;

fn to(provider: Provider, model: &str) -> To<'_> {
    To { provider, model, max_output: Some(64_000), old_cap: false, flavor: Flavor::OpenAi, ask_usage: true }
}

/// What a request becomes, and what is listed; or why it is refused.
fn sent(client: Client, body: &Value, to: &To<'_>) -> Result<(Value, Vec<String>), String> {
    let written = Request::read(client, body.to_string().as_bytes()).and_then(|request| request.write(to));
    let written = written.map_err(|refused| refused.to_string())?;
    Ok((serde_json::from_str(&written.body).unwrap(), written.dropped))
}

fn messages(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "max_tokens": 9_000, "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn chat(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_name_of_a_user_that_is_too_long_is_a_hash_that_stays_the_same() {
    let openai = to(Provider::OpenAiChat, "gpt-5");
    let of = |user: &str| {
        sent(Client::AnthropicMessages, &messages(&json!({ "metadata": { "user_id": user } })), &openai).unwrap()
    };
    let (short, long) = ("é".repeat(64), "é".repeat(65));
    assert_eq!((of(&short).0["user"].clone(), of(&short).1), (json!(short), vec![]));
    let (body, listed) = of(&long);
    let user = body["user"].as_str().unwrap();
    assert!(user.len() <= 64 && user.starts_with("user_") && of(&long).0["user"] == *user, "{user}");
    assert_ne!(of(&format!("{long}x")).0["user"], *user);
    assert_eq!(listed, ["metadata.user_id (a hash of it is sent: the provider takes 64 characters)"]);
    let (body, listed) = sent(
        Client::OpenAiChat,
        &chat(&json!({ "max_tokens": 9, "user": "u".repeat(257) })),
        &to(Provider::AnthropicMessages, "claude-sonnet-4-6"),
    )
    .unwrap();
    assert!(body["metadata"]["user_id"].as_str().unwrap().len() <= 256);
    assert_eq!(listed, ["user (a hash of it is sent: the provider takes 256 characters)"]);
}

/// What models of Gemini 2.5 take: <https://ai.google.dev/gemini-api/docs/thinking>.
#[test]
fn a_budget_to_reason_is_within_what_a_model_takes() {
    for (model, budget, wanted) in [
        ("gemini-2.5-pro", 1_024, 1_024),
        ("gemini-2.5-pro", 40_000, 32_768),
        ("gemini-2.5-flash", 40_000, 24_576),
        ("gemini-2.5-flash-lite", 1_024, 1_024),
        ("gemini-2.5-flash-lite", 300, 512),
        ("gemini-2.5-flash", 300, 300),
    ] {
        let thinking = json!({ "max_tokens": 50_000, "thinking": { "type": "enabled", "budget_tokens": budget } });
        let (body, listed) =
            sent(Client::AnthropicMessages, &messages(&thinking), &to(Provider::Gemini, model)).unwrap();
        assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingBudget"], wanted, "{model}");
        let note = "thinking (its budget: the nearest that the model takes)";
        assert_eq!(listed.iter().any(|line| line == note), wanted != budget, "{model} {budget}: {listed:?}");
    }
    // It cannot be told not to.
    let off = messages(&json!({ "thinking": { "type": "disabled" } }));
    for (model, wanted, is_listed) in
        [("gemini-2.5-pro", 128, true), ("gemini-2.5-flash", 0, false), ("gemini-2.5-flash-lite", 0, false)]
    {
        let (body, listed) = sent(Client::AnthropicMessages, &off, &to(Provider::Gemini, model)).unwrap();
        assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingBudget"], wanted, "{model}");
        assert_eq!(listed.len(), usize::from(is_listed), "{listed:?}");
    }
}

/// A role that is OpenAI's own, and a name that a strict server takes for a mistake.
#[test]
fn who_only_speaks_like_openai_gets_what_all_take() {
    let body = json!({ "model": "m", "user": "u", "input": [{ "role": "developer", "content": "Be brief." }, { "role": "user", "content": "hi" }] });
    for (flavor, role, listed) in
        [(Flavor::OpenAi, "developer", vec![]), (Flavor::Common, "system", vec!["user".to_owned()])]
    {
        let to = To { flavor, ..to(Provider::OpenAiChat, "m") };
        let (body, dropped) = sent(Client::OpenAiResponses, &body, &to).unwrap();
        assert_eq!((&body["messages"][0]["role"], dropped), (&json!(role), listed));
        assert_eq!(body.get("user").is_some(), flavor.is_whole());
    }
}

#[test]
fn an_effort_that_a_provider_has_not_is_the_nearest_and_listed() {
    #[rustfmt::skip]
    let cases = [
        (Provider::Gemini, "gemini-3.1-pro-preview", "xhigh", "/generationConfig/thinkingConfig/thinkingLevel", "high"),
        (Provider::AnthropicMessages, "claude-opus-4-6", "minimal", "/output_config/effort", "low"),
        (Provider::BedrockConverse, "amazon.nova-2-lite-v1:0", "minimal", "/additionalModelRequestFields/reasoningConfig/maxReasoningEffort", "low"),
        (Provider::BedrockConverse, "openai.gpt-oss-120b-1:0", "xhigh", "/additionalModelRequestFields/reasoning_effort", "high"),
    ];
    for (provider, model, effort, path, wanted) in cases {
        let of = |effort: &str| {
            sent(
                Client::OpenAiChat,
                &chat(&json!({ "max_tokens": 9, "reasoning_effort": effort })),
                &to(provider, model),
            )
            .unwrap()
        };
        let (body, listed) = of(effort);
        assert_eq!(body.pointer(path), Some(&json!(wanted)), "{body}");
        assert_eq!(listed, [format!("reasoning_effort (its effort: {wanted} in place of {effort})")], "{model}");
        let (body, listed) = of("medium");
        assert_eq!((body.pointer(path), listed), (Some(&json!("medium")), vec![]), "{model}");
    }
}

/// What models from Gemini 3 on take: <https://ai.google.dev/gemini-api/docs/thinking>.
#[test]
fn a_level_of_thinking_is_one_that_the_model_has() {
    let always = "reasoning_effort (the model always reasons; the least is asked for)";
    let efforts = ["none", "minimal", "low", "medium", "high"];
    for (model, wanted) in [
        ("gemini-3-pro-preview", ["low", "low", "low", "high", "high"]),
        ("gemini-3.1-pro-preview", ["low", "low", "low", "medium", "high"]),
        ("gemini-3-flash-preview", ["minimal", "minimal", "low", "medium", "high"]),
        ("gemini-3.1-flash-lite", ["minimal", "minimal", "low", "medium", "high"]),
        ("gemini-3.1-flash-image", ["minimal", "minimal", "minimal", "high", "high"]),
        ("gemini-3.8-flash", ["low", "low", "low", "medium", "high"]),
        ("gemini-flash-latest", ["low", "low", "low", "medium", "high"]),
    ] {
        for (effort, level) in efforts.into_iter().zip(wanted) {
            let asked = chat(&json!({ "reasoning_effort": effort }));
            let (body, listed) = sent(Client::OpenAiChat, &asked, &to(Provider::Gemini, model)).unwrap();
            assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingLevel"], level, "{model} {effort}");
            let other = format!("reasoning_effort (its effort: {level} in place of {effort})");
            let note = if effort == "none" { Some(always) } else { (level != effort).then_some(other.as_str()) };
            assert_eq!(listed.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(note), "{model} {effort}");
        }
    }
}

/// The most that models of Gemini 2.5 take is less than what is made of the highest efforts.
#[test]
fn an_effort_whose_budget_a_model_has_not_is_listed() {
    for (model, effort, wanted, is_listed) in [
        ("gemini-2.5-flash", "max", 24_576, true),
        ("gemini-2.5-flash", "xhigh", 24_576, true),
        ("gemini-2.5-flash", "high", 24_576, false),
        ("gemini-2.5-pro", "xhigh", 32_768, true),
        ("gemini-2.5-pro", "low", 1_024, false),
    ] {
        let asked = chat(&json!({ "reasoning_effort": effort }));
        let (body, listed) = sent(Client::OpenAiChat, &asked, &to(Provider::Gemini, model)).unwrap();
        assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingBudget"], wanted, "{model} {effort}");
        let note = "reasoning_effort (its budget: the nearest that the model takes)";
        assert_eq!(listed, if is_listed { vec![note] } else { vec![] }, "{model} {effort}");
    }
}

/// No target but those of OpenAI's dialect takes a message of nothing.
#[test]
fn a_message_of_nothing_is_left_away_and_listed() {
    let nothing = json!({ "role": "assistant", "content": null });
    let (hi, empty) = (json!({ "role": "user", "content": "hi" }), json!({ "role": "user", "content": "" }));
    let mistral = To { flavor: Flavor::Mistral, ..to(Provider::OpenAiChat, "mistral-large-latest") };
    let targets = PROVIDERS.into_iter().map(|(provider, _, model)| to(provider, model)).chain([mistral]);
    for to in targets {
        let of = |messages: &[&Value]| {
            let asked = chat(&json!({ "max_tokens": 9, "messages": messages }));
            let (body, listed) = sent(Client::OpenAiChat, &asked, &to).unwrap();
            let turns = body.get("messages").or(body.get("contents")).unwrap();
            (turns.as_array().unwrap().iter().map(|turn| turn["role"].clone()).collect::<Vec<_>>(), listed)
        };
        let (roles, listed) = of(&[&hi, &nothing, &hi]);
        assert!(!roles.iter().any(|role| role == "assistant" || role == "model"), "{}: {roles:?}", to.model);
        assert_eq!(listed, ["messages[1] (it says nothing)"], "{}", to.model);
        let (roles, listed) = of(&[&empty]);
        assert_eq!(listed.is_empty(), !roles.is_empty(), "{}: {listed:?}", to.model);
        // Instructions stand apart from the turns.
        let (roles, listed) = of(&[&json!({ "role": "system", "content": "" }), &hi]);
        assert_eq!(listed.is_empty(), roles.len() == 2, "{}: {listed:?}", to.model);
        assert!(listed.iter().all(|line| line == "messages[0] (it says nothing)"), "{}: {listed:?}", to.model);
    }
}

/// What is left away leaves no two turns of one role behind, which Bedrock and Gemini refuse.
#[test]
fn a_turn_of_nothing_but_reasoning_of_another_is_none() {
    let thinking = |signature: &str| json!({ "type": "thinking", "thinking": "hm", "signature": signature });
    let of = |signature: &str, provider: Provider| {
        let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap();
        let turns = json!({ "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [thinking(signature), { "type": "text", "text": "" }, { "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "1" }] },
            { "role": "assistant", "content": [thinking(signature), { "type": "text", "text": "" }] },
            { "role": "user", "content": "on" },
        ] });
        let (body, listed) = sent(Client::AnthropicMessages, &messages(&turns), &to(provider, model)).unwrap();
        let turns = body.get("messages").or(body.get("contents")).unwrap().as_array().unwrap().clone();
        let parts = |turn: &Value| turn.get("content").or(turn.get("parts")).unwrap().as_array().unwrap().len();
        (turns.iter().map(parts).collect::<Vec<_>>(), listed.len())
    };
    for (provider, own) in [
        (Provider::AnthropicMessages, "anthropic:thinking:abc"),
        (Provider::BedrockConverse, "anthropic:thinking:abc"),
        (Provider::Gemini, "google:thinking:abc"),
    ] {
        assert_eq!(of("cohere:thinking:abc", provider), (vec![1, 1, 2], 2), "{provider:?}");
        assert_eq!(of(own, provider), (vec![1, 2, 1, 1, 1], 0), "{provider:?}");
    }
}

#[test]
fn the_begin_of_an_answer_is_gone_on_with_or_refused() {
    let turns = |last: Value| json!({ "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": last }] });
    let call = json!([{ "type": "tool_use", "id": "t", "name": "f", "input": {} }]);
    for (provider, _, model) in PROVIDERS {
        let of = |last: Value| sent(Client::AnthropicMessages, &messages(&turns(last)), &to(provider, model));
        let goes_on = matches!(provider, Provider::AnthropicMessages | Provider::BedrockConverse);
        for begun in [json!("{"), json!([{ "type": "text", "text": "{" }])] {
            match of(begun) {
                Ok(_) => assert!(goes_on, "{provider:?}"),
                Err(why) => assert!(
                    !goes_on && why.starts_with("messages[1]: ") && why.contains("end with one of the user"),
                    "{provider:?}: {why}"
                ),
            }
        }
        assert!(of(call.clone()).is_ok(), "{provider:?}");
    }
}

#[test]
fn documents_have_names_that_differ_wherever_they_stand() {
    let file = |title: Value| json!({ "type": "document", "title": title, "source": { "type": "text", "media_type": "text/plain", "data": "x" } });
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": [file(Value::Null)] });
    let body = json!({ "messages": [
        { "role": "user", "content": [file(Value::Null), file(json!("a b.txt")), file(Value::Null)] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
        { "role": "user", "content": [result, file(json!("A-b-txt"))] },
    ] });
    let (sent, _) = sent(
        Client::AnthropicMessages,
        &messages(&body),
        &to(Provider::BedrockConverse, "anthropic.claude-sonnet-4-6"),
    )
    .unwrap();
    let name = |path: &str| sent.pointer(&format!("{path}/document/name")).unwrap().as_str().unwrap().to_owned();
    let first = ["/messages/0/content/0", "/messages/0/content/1", "/messages/0/content/2"].map(name);
    assert_eq!(first, ["file", "a-b-txt", "file-2"]);
    assert_eq!(name("/messages/2/content/0/toolResult/content/0"), "file-3");
    assert_eq!(name("/messages/2/content/1"), "A-b-txt-2");
}

#[test]
fn an_image_of_a_type_that_only_clients_know_is_sent_as_what_it_is() {
    let url = "data:image/jpg;base64,/9j/";
    let asked = chat(
        &json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }] }),
    );
    let data = json!({ "type": "base64", "media_type": "image/jpg", "data": "/9j/" });
    let message =
        messages(&json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": data }] }] }));
    let [claude, bedrock] = [
        to(Provider::AnthropicMessages, "claude-sonnet-4-6"),
        to(Provider::BedrockConverse, "anthropic.claude-sonnet-4-6"),
    ];
    for (client, body) in [(Client::OpenAiChat, &asked), (Client::AnthropicMessages, &message)] {
        let of = |to: &To<'_>| sent(client, body, to).unwrap().0["messages"][0]["content"][0].clone();
        assert_eq!(of(&claude)["source"]["media_type"], "image/jpeg");
        assert_eq!(of(&bedrock)["image"]["format"], "jpeg");
    }
}

/// What Claude takes beside thinking: <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>.
#[test]
fn a_setting_that_does_not_go_with_thinking_is_left_away_and_listed() {
    let claudes = [
        to(Provider::AnthropicMessages, "claude-sonnet-4-5"),
        to(Provider::AnthropicMessages, "claude-opus-4-6"),
        to(Provider::BedrockConverse, "us.anthropic.claude-sonnet-4-5-v1:0"),
    ];
    for to in claudes {
        let of = |effort: &str, more: &Value| {
            let mut asked = chat(&json!({ "max_tokens": 9_000, "reasoning_effort": effort }));
            let mut response =
                json!({ "model": "m", "input": "hi", "max_output_tokens": 9_000, "reasoning": { "effort": effort } });
            for body in [&mut asked, &mut response] {
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            }
            let said = sent(Client::OpenAiChat, &asked, &to);
            assert_eq!(said, sent(Client::OpenAiResponses, &response, &to));
            said
        };
        // Bedrock has them in other places.
        let settings = |body: &Value| {
            let config = body.get("inferenceConfig").unwrap_or(body);
            let top_p = config.get("topP").or(config.get("top_p"));
            let top_k = body.pointer("/additionalModelRequestFields/top_k").or(body.get("top_k"));
            json!([config.get("temperature"), top_p, top_k])
        };
        let (body, listed) = of("high", &json!({ "temperature": 0.7, "top_p": 0.9, "top_k": 5 })).unwrap();
        assert_eq!(settings(&body), json!([null, null, null]), "{}", to.model);
        let gone = ["temperature", "top_p", "top_k"].map(|name| format!("{name} (it does not go with reasoning)"));
        assert_eq!(listed, gone, "{}", to.model);
        let (body, listed) = of("high", &json!({ "temperature": 1, "top_p": 0.95 })).unwrap();
        assert_eq!((settings(&body), listed), (json!([1, 0.95, null]), vec![]), "{}", to.model);
        let (body, listed) = of("none", &json!({ "temperature": 0.7, "top_p": 0.9, "top_k": 5 })).unwrap();
        assert_eq!((settings(&body), listed), (json!([0.7, 0.9, 5]), vec![]), "{}", to.model);
        let why = of("high", &json!({ "temperature": 1.5 })).unwrap_err();
        assert_eq!(why, "temperature: the provider takes no temperature above 1", "{}", to.model);
    }
}

/// Clients that count the calls of each turn use an id again.
#[test]
fn what_a_tool_gave_goes_to_the_last_call_with_its_id() {
    let call = |name: &str| json!({ "role": "assistant", "tool_calls": [{ "id": "call_0", "type": "function", "function": { "name": name, "arguments": "{}" } }] });
    let result = |text: &str| json!({ "role": "tool", "tool_call_id": "call_0", "content": text });
    let turns = json!([{ "role": "user", "content": "hi" }, call("get_weather"), result("21"), call("send_money"), result("sent")]);
    let gemini = to(Provider::Gemini, "gemini-2.5-flash");
    let (body, _) = sent(Client::OpenAiChat, &chat(&json!({ "messages": turns })), &gemini).unwrap();
    let name = |turn: usize| body["contents"][turn]["parts"][0]["functionResponse"]["name"].clone();
    assert_eq!([name(2), name(4)], ["get_weather", "send_money"], "{body}");
    let orphan = json!([{ "role": "user", "content": "hi" }, result("21"), call("get_weather")]);
    let why = sent(Client::OpenAiChat, &chat(&json!({ "messages": orphan })), &gemini).unwrap_err();
    assert_eq!(why, "messages[1]: the provider wants the name of the tool, and no call before it has this id");
}

fn calls_of(calls: &[(&str, &str)]) -> Value {
    let function = |name: &str| json!({ "name": name, "arguments": "{}" });
    let call = |(id, name): &(&str, &str)| json!({ "id": id, "type": "function", "function": function(name) });
    json!({ "role": "assistant", "tool_calls": calls.iter().map(call).collect::<Vec<_>>() })
}

fn given(id: &str, text: &str) -> Value {
    json!({ "role": "tool", "tool_call_id": id, "content": text })
}

fn hi(turns: &[Value]) -> Value {
    let hi = json!({ "role": "user", "content": "hi" });
    chat(&json!({ "max_tokens": 9, "messages": std::iter::once(&hi).chain(turns).collect::<Vec<_>>() }))
}

/// Some servers give all calls of a turn one id, and clients send that back.
#[test]
fn what_tools_gave_goes_to_the_calls_of_one_id_in_their_order() {
    let gemini = to(Provider::Gemini, "gemini-2.5-flash");
    for id in ["call_0", ""] {
        let turns = [calls_of(&[(id, "get_weather"), (id, "get_time")]), given(id, "sun"), given(id, "noon")];
        let (body, _) = sent(Client::OpenAiChat, &hi(&turns), &gemini).unwrap();
        let result = |place: usize| {
            let result = &body["contents"][2]["parts"][place]["functionResponse"];
            (result["name"].clone(), result["response"]["output"].clone())
        };
        assert_eq!(result(0), (json!("get_weather"), json!("sun")), "{body}");
        assert_eq!(result(1), (json!("get_time"), json!("noon")), "{body}");
    }
    // A turn that has the id again closes the one before it, whose second result never came.
    let turns = [
        calls_of(&[("a", "get_weather"), ("a", "get_time")]),
        given("a", "sun"),
        calls_of(&[("a", "send_money")]),
        given("a", "sent"),
    ];
    let (body, _) = sent(Client::OpenAiChat, &hi(&turns), &gemini).unwrap();
    assert_eq!(body["contents"][4]["parts"][0]["functionResponse"]["name"], "send_money", "{body}");
}

#[test]
fn more_results_than_calls_of_an_id_are_refused() {
    let turns = [calls_of(&[("a", "f")]), given("a", "1"), given("a", "2")];
    for provider in [Provider::Gemini, Provider::AnthropicMessages, Provider::BedrockConverse] {
        let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap();
        let why = sent(Client::OpenAiChat, &hi(&turns), &to(provider, model)).unwrap_err();
        assert_eq!(why, "messages[3]: there are more results of this id than calls before it", "{provider:?}");
    }
}

/// Mistral's models take ids of nine letters and digits and no others, at Bedrock as well.
#[test]
fn calls_that_go_to_mistral_have_ids_of_nine_letters_and_digits() {
    let chats = To { flavor: Flavor::Mistral, ..to(Provider::OpenAiChat, "mistral-large-latest") };
    let bedrock = to(Provider::BedrockConverse, "us.mistral.pixtral-large-2502-v1:0");
    let (theirs, long) = ("D681PevKs", "toolu_01A09q90qw90lq917835lq9");
    let turns = [
        calls_of(&[("call_0", "f"), ("call_0", "g"), (theirs, "h")]),
        given("call_0", "1"),
        given(theirs, "3"),
        given("call_0", "2"),
        calls_of(&[("call_0", "f"), (long, "f"), ("12345678_", "f"), ("", "f")]),
        given(long, "5"),
        given("", "7"),
        given("12345678_", "6"),
        given("call_0", "4"),
    ];
    for to in [chats, bedrock] {
        let of = |turns: &[Value]| {
            let (body, listed) = sent(Client::OpenAiChat, &hi(turns), &to).unwrap();
            assert!(listed.is_empty(), "{listed:?}");
            let (mut calls, mut results) = (Vec::new(), Vec::new());
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            for message in list(&body["messages"]) {
                calls.extend(list(&message["tool_calls"]).iter().filter_map(|call| text(&call["id"])));
                results.extend(text(&message["tool_call_id"]));
                let content = list(&message["content"]);
                calls.extend(content.iter().filter_map(|block| text(&block["toolUse"]["toolUseId"])));
                results.extend(content.iter().filter_map(|block| text(&block["toolResult"]["toolUseId"])));
            }
            (calls, results)
        };
        let (calls, results) = of(&turns);
        let is_nine = |id: &String| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(calls.iter().all(is_nine), "{calls:?}");
        assert_eq!(calls.iter().collect::<std::collections::BTreeSet<_>>().len(), 7, "{calls:?}");
        assert_eq!(calls[2], theirs);
        let answered = [0, 2, 1, 4, 6, 5, 3].map(|place: usize| calls[place].clone());
        assert_eq!(results, answered, "{}", to.model);
        // What stood before stays as it was when the conversation goes on.
        assert_eq!(of(&turns[..4]).0, calls[..3], "{}", to.model);
    }
}

/// Mistral refuses members that it does not know.
#[test]
fn what_mistral_refuses_in_a_message_is_said_otherwise_or_listed() {
    let mistral = To { flavor: Flavor::Mistral, ..to(Provider::OpenAiChat, "mistral-large-latest") };
    let said = json!({ "role": "assistant", "content": "A", "refusal": "No.", "reasoning_content": "hm" });
    let thought = json!({ "role": "assistant", "content": null, "reasoning_content": "hm" });
    let on = json!({ "role": "user", "content": "on" });
    let mut asked = hi(&[said, on.clone(), thought, on]);
    asked["seed"] = json!(7);
    let (body, listed) = sent(Client::OpenAiChat, &asked, &mistral).unwrap();
    let text = |text: &str| json!({ "type": "text", "text": text });
    assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": [text("A"), text("No.")] }));
    assert_eq!((body["messages"].as_array().map(Vec::len), &body["random_seed"]), (Some(4), &json!(7)), "{body}");
    assert!(body.get("seed").is_none(), "{body}");
    let wanted = [1, 3].map(|place: usize| format!("messages[{place}].reasoning_content (reasoning)"));
    assert_eq!(listed, wanted);
}

/// Anthropic and Bedrock refuse an id that stands twice in a conversation.
#[test]
fn calls_of_one_id_get_ids_of_their_own_where_it_has_to_differ() {
    let of = |turns: &[Value], provider: Provider| {
        let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap();
        let (body, listed) = sent(Client::OpenAiChat, &hi(turns), &to(provider, model)).unwrap();
        assert!(listed.is_empty(), "{listed:?}");
        let blocks = |role: &str| {
            let messages = body["messages"].as_array().unwrap().iter().filter(|message| message["role"] == role);
            messages.flat_map(|message| message["content"].as_array().unwrap()).cloned().collect::<Vec<_>>()
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let call = |block: &Value| text(&block["id"]).or_else(|| text(&block["toolUse"]["toolUseId"]));
        let result = |block: &Value| text(&block["tool_use_id"]).or_else(|| text(&block["toolResult"]["toolUseId"]));
        let calls: Vec<String> = blocks("assistant").iter().filter_map(call).collect();
        let results: Vec<String> = blocks("user").iter().filter_map(result).collect();
        (calls, results)
    };
    for provider in [Provider::AnthropicMessages, Provider::BedrockConverse] {
        // In one turn, in a later one, and beside ids that a client has itself.
        let turns = [
            calls_of(&[("call_0", "f"), ("call_0", "g"), ("call_1", "f")]),
            given("call_1", "1"),
            given("call_0", "2"),
            given("call_0", "3"),
            calls_of(&[("call_0", "f"), ("call_0-3", "f")]),
            given("call_0", "4"),
            given("call_0-3", "5"),
        ];
        let (calls, results) = of(&turns, provider);
        assert_eq!(calls, ["call_0", "call_0-2", "call_1", "call_0-4", "call_0-3"], "{provider:?}");
        assert_eq!(results, ["call_1", "call_0", "call_0-2", "call_0-4", "call_0-3"], "{provider:?}");
        // What stood before stays as it was when the conversation goes on.
        let (before, _) = of(&turns[..4], provider);
        assert_eq!(before, calls[..3], "{provider:?}");
        // Empty ones and long ones fit as well.
        let long = "a".repeat(64);
        for id in ["", long.as_str()] {
            let (calls, results) = of(&[calls_of(&[(id, "f"), (id, "g")]), given(id, "1"), given(id, "2")], provider);
            assert_ne!(calls[0], calls[1], "{provider:?}");
            assert!(calls.iter().all(|id| !id.is_empty() && id.len() <= 64), "{calls:?}");
            assert_eq!(calls, results, "{provider:?}");
        }
        let turns = [calls_of(&[("x", "f"), ("y", "f")]), given("y", "1"), given("x", "2")];
        let (calls, results) = of(&turns, provider);
        assert_eq!((calls, results), (vec!["x".to_owned(), "y".to_owned()], vec!["y".to_owned(), "x".to_owned()]));
    }
}

/// What a client says of a document changes how it is read, so it is said to every model.
#[test]
fn a_title_and_a_context_are_said_in_front_of_a_document() {
    let about =
        |source: Value| json!({ "type": "document", "title": "Tides", "context": "A draft.", "source": source });
    let text = about(json!({ "type": "text", "media_type": "text/plain", "data": "High." }));
    let pdf = about(json!({ "type": "base64", "media_type": "application/pdf", "data": "AA==" }));
    let body = messages(&json!({ "messages": [{ "role": "user", "content": [text, pdf] }] }));
    let (all, context) = ("Document title: Tides\nDocument context: A draft.", "Document context: A draft.");
    #[rustfmt::skip]
    let cases = [
        (Provider::OpenAiChat, "gpt-5", "/messages/0/content", json!([
            { "type": "text", "text": all }, { "type": "text", "text": "High." },
            { "type": "text", "text": context }, { "type": "file", "file": { "filename": "Tides", "file_data": "data:application/pdf;base64,AA==" } },
        ])),
        (Provider::Gemini, "gemini-3-flash", "/contents/0/parts", json!([
            { "text": all }, { "text": "High." },
            { "text": all }, { "inlineData": { "mimeType": "application/pdf", "data": "AA==" } },
        ])),
        (Provider::BedrockConverse, "anthropic.claude-sonnet-4-6", "/messages/0/content", json!([
            { "text": context }, { "document": { "format": "txt", "source": { "bytes": "SGlnaC4=" }, "name": "Tides" } },
            { "text": context }, { "document": { "format": "pdf", "source": { "bytes": "AA==" }, "name": "Tides-2" } },
        ])),
        (Provider::AnthropicMessages, "claude-sonnet-4-6", "/messages/0/content", body["messages"][0]["content"].clone()),
    ];
    for (provider, model, path, wanted) in cases {
        let (body, listed) = sent(Client::AnthropicMessages, &body, &to(provider, model)).unwrap();
        assert_eq!((body.pointer(path), listed), (Some(&wanted), vec![]), "{provider:?}");
    }
}

/// Anthropic takes a document as blocks, which nobody else does.
#[test]
fn a_document_of_blocks_is_carried_as_its_blocks() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
    let document = |content: Value| {
        let source = json!({ "type": "content", "content": content });
        let document =
            json!({ "type": "document", "title": "Tides", "source": source, "cache_control": { "type": "ephemeral" } });
        messages(&json!({ "messages": [{ "role": "user", "content": [document, { "type": "text", "text": "So?" }] }] }))
    };
    let openai = to(Provider::OpenAiChat, "gpt-5");
    let blocks = document(json!([{ "type": "text", "text": "High." }, image]));
    let (body, listed) = sent(Client::AnthropicMessages, &blocks, &openai).unwrap();
    let said = [
        json!({ "type": "text", "text": "Document title: Tides" }),
        json!({ "type": "text", "text": "High." }),
        json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }),
        json!({ "type": "text", "text": "So?" }),
    ];
    assert_eq!(body["messages"][0]["content"], json!(said));
    assert_eq!(listed, ["messages[0].content[0].source.content[1].cache_control"]);
    let (body, _) = sent(Client::AnthropicMessages, &document(json!("Low.")), &openai).unwrap();
    assert_eq!(body["messages"][0]["content"][1], json!({ "type": "text", "text": "Low." }));
    let why = |source: Value| {
        let document = json!({ "type": "document", "source": source });
        let body = messages(&json!({ "messages": [{ "role": "user", "content": [document] }] }));
        sent(Client::AnthropicMessages, &body, &openai).unwrap_err()
    };
    let call = json!([{ "type": "tool_use", "id": "t", "name": "f", "input": {} }]);
    let at = "messages[0].content[0].source";
    assert_eq!(
        why(json!({ "type": "content", "content": call })),
        format!("{at}.content[0]: a document is made of texts and images only")
    );
    assert_eq!(
        why(json!({ "type": "later" })),
        format!("{at}: a source of this type is not known here and so cannot be carried over")
    );
    let stored = why(json!({ "type": "file", "file_id": "f" }));
    assert!(stored.ends_with("not known to another: send its data"), "{stored}");
}

#[test]
fn that_a_tool_failed_is_said_to_every_model() {
    let turns = |result: Value| {
        json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "is_error": true, "content": result }] },
    ] })
    };
    let of = |result: Value, provider: Provider, path: &str| {
        let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap();
        let (body, listed) = sent(Client::AnthropicMessages, &messages(&turns(result)), &to(provider, model)).unwrap();
        assert!(listed.is_empty(), "{provider:?}: {listed:?}");
        body.pointer(path).unwrap().clone()
    };
    for provider in [Provider::OpenAiChat, Provider::CohereChat] {
        assert_eq!(of(json!("no such city"), provider, "/messages/2/content"), "Error: no such city");
        assert_eq!(of(json!([]), provider, "/messages/2/content"), "Error");
    }
    let response = of(json!("no such city"), Provider::Gemini, "/contents/2/parts/0/functionResponse/response");
    assert_eq!(response, json!({ "error": "no such city" }));
    let status = of(json!("no such city"), Provider::BedrockConverse, "/messages/2/content/0/toolResult/status");
    assert_eq!(status, "error");
    let is_error = of(json!("no such city"), Provider::AnthropicMessages, "/messages/2/content/0/is_error");
    assert_eq!(is_error, true);
}

#[test]
fn what_a_tool_gave_beside_text_is_listed_where_it_stands_behind_its_result() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
    let text = json!({ "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "High." } });
    let content = json!([{ "type": "text", "text": "seen" }, image, text]);
    let body = messages(&json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": content }] },
    ] }));
    let place =
        |at: usize| format!("messages[2].content[0].content[{at}] (its place: it follows in a message of the user)");
    for provider in [Provider::OpenAiChat, Provider::Gemini] {
        let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == provider).unwrap();
        let (_, listed) = sent(Client::AnthropicMessages, &body, &to(provider, model)).unwrap();
        assert_eq!(listed, [place(1), place(2)], "{provider:?}");
    }
    let (_, _, model) = PROVIDERS.into_iter().find(|(known, ..)| *known == Provider::BedrockConverse).unwrap();
    let (_, listed) = sent(Client::AnthropicMessages, &body, &to(Provider::BedrockConverse, model)).unwrap();
    assert!(listed.is_empty(), "{listed:?}");
}

fn told() -> Told {
    let request = messages(&json!({ "stream": true })).to_string();
    Request::read(Client::AnthropicMessages, request.as_bytes()).unwrap().told("0190b3c4", 1, 1)
}

#[test]
fn reasoning_that_a_server_says_twice_is_said_once() {
    let message = |more: Value| {
        let mut message = json!({ "role": "assistant", "content": "ho" });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] })
            .to_string()
    };
    let signed = json!([{ "type": "reasoning.text", "text": "hm", "signature": "EuA", "format": "anthropic-claude-v1", "index": 0 }]);
    let proof = "choices[0].message.reasoning_details (what proves the reasoning)";
    #[rustfmt::skip]
    let cases: [(Value, &[&str]); 7] = [
        (json!({ "reasoning": "hm", "reasoning_content": "hm" }), &[]),
        (json!({ "reasoning": "hm", "reasoning_content": "" }), &[]),
        (json!({ "reasoning_content": "hm", "reasoning": null }), &[]),
        (json!({ "reasoning": "another", "reasoning_content": "hm" }), &["choices[0].message.reasoning"]),
        (json!({ "reasoning": "hm", "reasoning_details": signed.clone() }), &[]),
        (json!({ "reasoning_details": signed }), &[]),
        (json!({ "reasoning": "hm", "reasoning_details": [{ "type": "reasoning.text", "text": "other", "signature": "EuA" }] }), &[proof]),
    ];
    for (more, listed) in cases {
        let whole = answer(
            Provider::OpenAiChat,
            "m",
            Client::AnthropicMessages,
            message(more.clone()).as_bytes(),
            &told(),
            None,
        )
        .unwrap();
        let body: Value = serde_json::from_str(&whole.body).unwrap();
        assert_eq!(body["content"][0]["thinking"], "hm", "{more}");
        assert_eq!(
            (body["content"].as_array().unwrap().len(), whole.dropped),
            (2, listed.iter().map(ToString::to_string).collect()),
            "{more}"
        );
    }
}

#[test]
fn ids_of_calls_are_such_as_anthropic_takes_back() {
    let call = json!({ "index": 0, "id": "functions.get_weather:0", "type": "function", "function": { "name": "get_weather", "arguments": "{}" } });
    let fits = |id: &str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let of = |name: &str| {
        json!({ "id": "c", "model": "m", "choices": [{ "index": 0, name: { "tool_calls": [call.clone()] }, "finish_reason": "tool_calls" }] }).to_string()
    };
    let whole =
        answer(Provider::OpenAiChat, "m", Client::AnthropicMessages, of("message").as_bytes(), &told(), None).unwrap();
    let body: Value = serde_json::from_str(&whole.body).unwrap();
    let id = body["content"][0]["id"].as_str().unwrap();
    assert!(fits(id), "{id}");
    let mut stream = Stream::new(Provider::OpenAiChat, "m", Client::AnthropicMessages, told());
    let frames = stream.push("", of("delta").as_bytes()).unwrap();
    assert!(frames.contains(&format!(r#""id":"{id}""#)), "{frames}");
    // A chat keeps what the provider gave.
    let whole =
        answer(Provider::OpenAiChat, "m", Client::OpenAiResponses, of("message").as_bytes(), &told(), None).unwrap();
    assert!(whole.body.contains("functions.get_weather:0"));
}
