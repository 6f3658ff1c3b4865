//! What Gemini streams as one list is metered as its events are, and what an answer shows and no usage object counts is counted.

use super::*;

const CONTENT: Answer = Answer { api: Api::GeminiGenerateContent, framing: Framing::Whole, ..CHAT };

fn item(text: &str, output: u64, finish: &str) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}{finish}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":{output}}},"modelVersion":"gemini-2.5-flash"}}"#
    )
}

#[test]
fn a_list_is_a_stream_of_its_items() {
    let image = "x".repeat(FRAME_MAX + 1);
    for text in ["]}", image.as_str()] {
        let items = [item("a", 1, ""), item(text, 2, ""), item("b", 3, r#","finishReason":"STOP""#)];
        let list = format!("[{}\n,\r\n{},{}\n]\n", items[0], items[1], items[2]);
        let events = stream(&items.each_ref().map(String::as_str));
        let wanted = once(Answer { framing: Framing::Events, ..CONTENT }, &events);
        assert_eq!(wanted.usage, Usage::exact(counts(7, 3)));
        for size in [1_000_003, 65_536, 7, 1].into_iter().filter(|size| list.len() < 10_000 || *size > 7) {
            let found = run(CONTENT, End::Closed, list.as_bytes().chunks(size));
            assert_eq!(found.measured.usage, wanted.usage, "in pieces of {size}");
            assert_eq!((&found.measured.raw_usage, &found.measured.finish), (&wanted.raw_usage, &wanted.finish));
            assert_eq!(found.bytes(&[Verdict::Pass, Verdict::Last]), list.as_bytes(), "in pieces of {size}");
            assert!(found.bytes(&[Verdict::Last]).ends_with(b"]"), "in pieces of {size}");
        }
        // What is cut says what was reported by then.
        let cut = list.find(&items[2]).unwrap();
        for end in [cut - 1, cut, cut + 20] {
            let found = once(CONTENT, &list[..end]);
            assert_eq!(found.usage.total(), Some(counts(7, 2)), "at {end}");
            let doubt = if text.len() > FRAME_MAX { Doubt::FrameTooLarge } else { Doubt::Truncated };
            assert_eq!(found.usage.completeness, Completeness::LowerBound(doubt), "at {end}");
            assert_eq!(found.finish, Finish::Truncated, "at {end}");
        }
    }
}

#[test]
fn searches_that_are_billed_and_not_reported_are_counted() {
    let grounded = |model: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"STOP","groundingMetadata":{{"webSearchQueries":["a","b"]}}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":3}},"modelVersion":"{model}"}}"#
        )
    };
    let searches = |answer: Answer, body: &str| once(answer, body).usage.total().unwrap().web_searches;
    // Google bills older models by the answer and newer ones by the query; a stream may say them again.
    for (model, wanted) in [("gemini-2.5-flash", 1), ("gemini-3-pro-preview", 2)] {
        let body = grounded(model);
        assert_eq!(searches(CONTENT, &body), wanted, "{model}");
        assert_eq!(
            searches(Answer { framing: Framing::Events, ..CONTENT }, &stream(&[&body, &body])),
            wanted,
            "{model}"
        );
    }
    let usage = r#""usage":{"input_tokens":7,"output_tokens":3}"#;
    let items = r#"{"type":"web_search_call","action":{"type":"search"}},{"type":"web_search_call","action":{"type":"open_page"}}"#;
    let whole = format!(r#"{{"id":"r","output":[{items}],{usage}}}"#);
    let responses = Answer { api: Api::OpenAiResponses, framing: Framing::Whole, ..CHAT };
    assert_eq!(once(responses, &whole).usage, Usage::exact(Vector { web_searches: 1, tool_calls: 2, ..counts(7, 3) }));
    let event = |kind: &str, action: &str| {
        format!(
            r#"{{"type":"response.output_item.{kind}","item":{{"type":"web_search_call","action":{{"type":"{action}"}}}}}}"#
        )
    };
    let done = format!(r#"{{"type":"response.completed","response":{{"id":"r","output":[{items}],{usage}}}}}"#);
    let events =
        [event("added", "search"), event("done", "search"), event("added", "x"), event("done", "open_page"), done];
    // All of it, and what is left of it for who resumes it.
    for events in [&events[..], &events[3..], &events[4..]] {
        let events = stream(&events.iter().map(String::as_str).collect::<Vec<_>>());
        let found = once(Answer { framing: Framing::Events, ..responses }, &events);
        assert_eq!(found.usage, Usage::exact(Vector { web_searches: 1, tool_calls: 2, ..counts(7, 3) }));
    }
}

/// Searches of files, maps and images are units of a class that has no price unless a book gives it one; of what is billed by the session or
/// the image an answer says nothing, so that what it says is so much at least.
#[test]
fn what_a_provider_ran_besides_is_never_nothing() {
    let responses = Answer { api: Api::OpenAiResponses, framing: Framing::Whole, ..CHAT };
    let usage = r#""usage":{"input_tokens":7,"output_tokens":3}"#;
    for (items, tool_calls, search_units, whole) in [
        (&["file_search_call", "file_search_call"][..], 2, 2, true),
        (&["code_interpreter_call"], 1, 0, false),
        (&["image_generation_call", "file_search_call"], 2, 1, false),
        (&["message", "function_call", "mcp_call"], 2, 0, true),
    ] {
        let vector = Vector { tool_calls, search_units, ..counts(7, 3) };
        let item = |(index, kind): (usize, &&str)| (index, format!(r#"{{"type":"{kind}"}}"#));
        let items: Vec<(usize, String)> = items.iter().enumerate().map(item).collect();
        let list = items.iter().map(|(_, item)| item.as_str()).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"id":"r","output":[{list}],{usage}}}"#);
        let done = items.iter().map(|(index, item)| {
            format!(r#"{{"type":"response.output_item.done","output_index":{index},"item":{item}}}"#)
        });
        let last = format!(r#"{{"type":"response.completed","response":{body}}}"#);
        let events: Vec<String> = done.chain([last]).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let large = body.replacen("{", &format!(r#"{{"instructions":"{}","#, "x".repeat(300_000)), 1);
        let streamed = Answer { framing: Framing::Events, ..responses };
        // Who comes late has only the last event.
        let late = events.last().copied().unwrap_or_default();
        for found in [
            once(responses, &body),
            once(responses, &large),
            once(streamed, &stream(&events)),
            once(streamed, &stream(&[late])),
        ] {
            let completeness = if whole { Completeness::Exact } else { Completeness::LowerBound(Doubt::NotReported) };
            assert_eq!(found.usage, Usage { completeness, ..Usage::exact(vector) }, "{list}");
        }
    }
    let grounded = |metadata: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"STOP","groundingMetadata":{{{metadata}}}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":3}},"modelVersion":"gemini-3-flash"}}"#
        )
    };
    let map = r#"{"maps":{"uri":"u","title":"t"}}"#;
    for (metadata, search_units) in [
        (format!(r#""groundingChunks":[{map},{map}]"#), 1),
        (r#""groundingChunks":[{"web":{"uri":"u"}}]"#.to_owned(), 0),
        (r#""imageSearchQueries":["a","b"]"#.to_owned(), 2),
    ] {
        let body = grounded(&metadata);
        let wanted = Usage::exact(Vector { search_units, ..counts(7, 3) });
        assert_eq!(once(CONTENT, &body).usage, wanted, "{metadata}");
        let events = stream(&[&body, &body]);
        assert_eq!(once(Answer { framing: Framing::Events, ..CONTENT }, &events).usage, wanted, "{metadata}");
    }
}

/// A stream tells of a call when it begins and when it is done, or only of one of both.
#[test]
fn a_call_is_one_whichever_of_its_events_tells_of_it() {
    let event = |kind: &str, index: u64, item: &str| {
        format!(
            r#"{{"type":"response.output_item.{kind}","output_index":{index},"item":{{"id":"i{index}","type":"{item}"}}}}"#
        )
    };
    let end = r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":7,"output_tokens":3}}}"#
        .to_owned();
    let call = "function_call";
    let check = |events: &[String], wanted: u64| {
        let events: Vec<&str> = events.iter().chain([&end]).map(String::as_str).collect();
        let found = once(Answer { api: Api::OpenAiResponses, ..CHAT }, &stream(&events));
        assert_eq!(found.usage, Usage::exact(Vector { tool_calls: wanted, ..counts(7, 3) }), "{events:?}");
    };
    check(&[event("added", 0, call), event("done", 0, call)], 1);
    check(&[event("done", 0, call), event("done", 1, "mcp_call"), event("done", 2, "message")], 2);
    check(&[event("added", 1, call)], 1);
    check(&[event("done", 0, call), event("added", 1, call), event("added", 2, call), event("done", 1, call)], 3);
    check(&[event("added", 0, "reasoning"), event("done", 0, "reasoning"), event("seen", 1, call)], 0);
}

/// In frames that are read for something else and in those that are not.
#[test]
fn a_call_that_is_named_in_each_of_its_pieces_is_one() {
    let piece = |arguments: &str| {
        format!(
            r#"{{"id":"c1","model":"m1","choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":"{arguments}"}}}}]}}}}]}}"#
        )
    };
    let [first, second, third] = ["", "x", "y"].map(piece);
    let check = |events: &[&str], wanted: u64| {
        let found = once(CHAT, &stream(&[events, &[USAGE, "[DONE]"]].concat()));
        assert_eq!(found.usage, Usage::exact(Vector { tool_calls: wanted, ..counts(7, 3) }), "{events:?}");
    };
    check(&[&first, &second, &third, &third], 1);
    check(&[&first, &second, &third.replace(r#""id":"a""#, r#""id":"""#)], 1);
    check(&[&first, &second, &third.replace(r#""id":"a""#, r#""id":"b""#)], 2);
    // What cannot be read is counted as it stands.
    check(&[HELLO, &second, &third[..third.len() - 3]], 2);
}

#[test]
fn a_large_answer_that_nobody_knows_is_followed_for_the_calls_of_any_dialect() {
    let text = "x".repeat(400_000);
    let passed = Answer { api: Api::Passthrough, framing: Framing::Whole, ..CHAT };
    for (body, calls) in [
        (
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f"}}}},{{"text":"{text}"}}]}}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":3}}}}"#
            ),
            1,
        ),
        (
            format!(
                r#"{{"choices":[{{"message":{{"content":"{text}","tool_calls":[{{"function":{{"name":"f"}}}},{{"custom":{{"name":"g"}}}}]}}}}],"usage":{{"prompt_tokens":7,"completion_tokens":3}}}}"#
            ),
            2,
        ),
    ] {
        let found = run(passed, End::Closed, body.as_bytes().chunks(65_536)).measured;
        assert_eq!(found.usage, Usage::exact(Vector { tool_calls: calls, ..counts(7, 3) }));
    }
}
