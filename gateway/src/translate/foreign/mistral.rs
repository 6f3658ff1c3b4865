//! What Mistral takes otherwise, in a chat that goes on as it came: it refuses members that it does not know, even with nothing in them,
//! and ids of calls that are not nine letters and digits. What would change an answer is not left away: it is Mistral's to refuse.

use std::{borrow::Cow, collections::VecDeque};

use schemas::json::{Text, Value};

use super::{CALLS, Cuts, Member, THOUGHTS, cut, is_one_of, ranges, spans, standing};
use crate::{
    json::member,
    translate::{
        fields::Ledger,
        hub::{Open, own_ids},
        ids::Form,
    },
};

/// What an answer of OpenAI's has beside its text, mostly with nothing in it.
const BESIDE: [&str; 4] = ["refusal", "annotations", "audio", "function_call"];

/// What it calls otherwise than OpenAI.
const RENAMED: [(&str, &str); 2] = [("max_completion_tokens", "max_tokens"), ("seed", "random_seed")];

/// What it has not, and what changes nothing of an answer.
const UNTAKEN: [&str; 5] = ["user", "store", "service_tier", "safety_identifier", "prompt_cache_retention"];

pub(super) fn write((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    settings((body, root), cuts, ledger);
    messages((body, root), cuts, ledger);
    if CALLS.find(body).is_some() {
        ids(root, cuts);
    }
}

/// Where a setting stands under both of its names, OpenAI's goes, as where it is translated.
fn settings((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    let members = standing(body, root);
    let is_stated = |name: &str| member(root, name).is_some_and(|value| !value.is_null());
    let mut gone = Vec::with_capacity(members.len());
    for one in &members {
        let renamed = RENAMED.iter().find(|(theirs, _)| one.name == **theirs);
        let yields = RENAMED.iter().any(|(theirs, own)| one.name == **own && is_stated(theirs));
        let goes = yields || is_one_of(one.name, &UNTAKEN) || renamed.is_some() && one.value.is_null();
        if goes && !one.value.is_null() {
            ledger.note(one.name.decoded());
        }
        if let Some((_, own)) = renamed.filter(|_| !goes) {
            cuts.push((one.range.start..one.value.span().start, Cow::Owned(format!("\"{own}\":"))));
        }
        gone.push(goes);
    }
    cut(&ranges(&members), &gone, cuts);
}

/// A message has no place for reasoning, whosever it is, and for a name only where a tool says it; who instructs is the system. One of
/// reasoning alone goes as a whole: Mistral takes none of the assistant that says nothing.
fn messages((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    let messages: Vec<Value<'_>> = member(root, "messages").and_then(Value::items).into_iter().flatten().collect();
    let mut bare = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        let members = standing(body, *message);
        let has_thoughts = members.iter().any(|one| is_one_of(one.name, &THOUGHTS));
        if has_thoughts {
            ledger.note(format!("messages[{place}] (reasoning)"));
        }
        let role = member(*message, "role").and_then(|role| Some((role.span(), role.word()?)));
        let is_by = |name: &str| role.as_ref().is_some_and(|(_, role)| role == name);
        if let Some((span, _)) = role.as_ref().filter(|_| is_by("developer")) {
            cuts.push((span.clone(), Cow::Borrowed("\"system\"")));
        }
        let is_named = member(*message, "name").is_some_and(|name| !name.is_null()) && !is_by("tool");
        if is_named {
            ledger.note(format!("messages[{place}].name"));
        }
        let goes = members.iter().map(|one| {
            let is_name = one.name == *"name" && (is_named || one.value.is_null());
            is_name || is_one_of(one.name, &THOUGHTS) || is_empty(one.value) && is_one_of(one.name, &BESIDE)
        });
        let gone: Vec<bool> = goes.collect();
        let says_nothing = |(one, gone): (&Member<'_>, &bool)| *gone || one.name == *"role" || is_empty(one.value);
        let is_bare = has_thoughts && is_by("assistant") && members.iter().zip(&gone).all(says_nothing);
        if !is_bare {
            cut(&ranges(&members), &gone, cuts);
        }
        bare.push(is_bare);
    }
    cut(&spans(&messages), &bare, cuts);
}

fn is_empty(value: Value<'_>) -> bool {
    value.is_null()
        || value.text().is_some_and(Text::is_empty)
        || value.items().is_some_and(|mut items| items.next().is_none())
}

/// Gives each call an id of its own, and its result the same: where theirs are not nine letters and digits, or stand twice. A result that
/// answers no call keeps to what its id alone becomes.
fn ids(root: Value<'_>, cuts: &mut Cuts) {
    let (mut open, mut calls, mut results) = (Open::<Cow<'_, str>>::default(), Vec::new(), Vec::new());
    let (mut by_assistant, mut turn_at) = (None, 0_usize);
    for message in member(root, "messages").and_then(Value::items).into_iter().flatten() {
        let role = member(message, "role").and_then(Value::word).unwrap_or_default();
        let is_by_assistant = role == "assistant";
        // A run of one role is one turn, and instructions are in none.
        if !matches!(&*role, "system" | "developer") && by_assistant != Some(is_by_assistant) {
            by_assistant = Some(is_by_assistant);
            turn_at += 1;
        }
        let made = member(message, "tool_calls").and_then(Value::items).into_iter().flatten();
        for id in made.filter_map(|call| member(call, "id")) {
            if let Some(word) = id.word() {
                open.call(word.clone(), turn_at);
                calls.push((id.span(), word));
            }
        }
        if let Some(id) = member(message, "tool_call_id").filter(|_| !is_by_assistant)
            && let Some(word) = id.word()
        {
            let answered = open.waiting(&word).and_then(VecDeque::pop_front);
            results.push((id.span(), word, answered));
        }
    }
    let words = || calls.iter().map(|(_, word)| &**word);
    let own = own_ids(words(), Form::Nine).unwrap_or_else(|| words().map(|id| Form::Nine.fit(id)).collect());
    let called = calls.iter().enumerate().map(|(place, (span, word))| (span, word, Some(place)));
    let answering = results.iter().map(|(span, word, answered)| (span, word, *answered));
    for (span, word, place) in called.chain(answering) {
        let of_call = place.and_then(|place| own.get(place)).cloned();
        let made = of_call.unwrap_or_else(|| Form::Nine.fit(word));
        if made != **word {
            cuts.push((span.clone(), Cow::Owned(format!("\"{made}\""))));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{event::Api, json::Tree};

    use crate::translate::{Flavor, leave};

    /// The body goes on as `wanted`, and this is listed.
    #[track_caller]
    fn check(body: &str, wanted: &str, listed: &[&str]) {
        let left = |flavor: Flavor| {
            let tree = Tree::read(body.as_bytes()).unwrap();
            leave(Api::OpenAiChat, flavor, body.as_bytes(), tree.root())
        };
        assert_eq!(left(Flavor::Common), None, "others get it as it is");
        let left = left(Flavor::Mistral).unwrap();
        assert_eq!(String::from_utf8(left.body).unwrap(), wanted);
        assert_eq!(left.dropped, listed);
        let tree = Tree::read(wanted.as_bytes()).unwrap();
        let again = leave(Api::OpenAiChat, Flavor::Mistral, wanted.as_bytes(), tree.root());
        assert_eq!(again, None, "it takes that");
    }

    #[test]
    fn what_mistral_calls_otherwise_is_renamed_and_what_it_has_not_is_listed() {
        check(
            r#"{"max_completion_tokens": 9,"model":"m" , "seed" : 7, "messages":[],"logit_bias":{}}"#,
            r#"{"max_tokens":9,"model":"m" ,"random_seed":7, "messages":[],"logit_bias":{}}"#,
            &[],
        );
        check(
            r#"{"store":false,"user":"u", "model":"m","metadata":{}, "service_tier":"auto","seed":1,"messages":[],"safety_identifier":"s" }"#,
            r#"{ "model":"m","metadata":{},"random_seed":1,"messages":[] }"#,
            &["store", "user", "service_tier", "safety_identifier"],
        );
        // Of two caps that of OpenAI goes, unless it is none.
        check(
            r#"{"max_tokens":5,"max_completion_tokens":9,"random_seed":1}"#,
            r#"{"max_tokens":9,"random_seed":1}"#,
            &["max_tokens"],
        );
        check(r#"{"max_tokens":5,"max_completion_tokens":null,"user":null}"#, r#"{"max_tokens":5}"#, &[]);
    }

    #[test]
    fn who_instructs_mistral_is_the_system_and_only_tools_have_names() {
        let tool = r#"{"role":"tool","name":"f","tool_call_id":"D681PevKs","content":"r"}"#;
        check(
            &format!(
                r#"{{"messages":[{{"role": "developer","content":"developer"}},{{"role":"user","name":"bob","content":"x"}},{{"content":"x","role":"user","name":null}},{tool}]}}"#
            ),
            &format!(
                r#"{{"messages":[{{"role": "system","content":"developer"}},{{"role":"user","content":"x"}},{{"content":"x","role":"user"}},{tool}]}}"#
            ),
            &["messages[1].name"],
        );
    }

    #[test]
    fn a_message_of_reasoning_alone_does_not_go_to_mistral() {
        let said = |message: &str| {
            let user = r#"{"role":"user","content":"x"}"#;
            format!(r#"{{"messages":[{user}{message}, {user}]}}"#)
        };
        let listed: &[&str] = &["messages[1] (reasoning)"];
        for bare in [
            r#"{"role":"assistant","content":"","reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm","reasoning_details":[{}],"role":"assistant","content":null,"refusal":null,"tool_calls":[]}"#,
            r#"{"reasoning":"hm","role":"assistant"}"#,
        ] {
            check(&said(&format!(" , {bare}")), &said(""), listed);
        }
        let call = r#""tool_calls":[{"id":"D681PevKs","function":{"name":"f","arguments":"{}"}}]"#;
        for more in [call, r#""prefix":true"#] {
            let kept = format!(r#",{{"role":"assistant","content":"",{more}}}"#);
            let before = format!(r#",{{"role":"assistant","content":"","reasoning":"hm",{more}}}"#);
            check(&said(&before), &said(&kept), listed);
        }
    }
}
