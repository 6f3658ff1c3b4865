//! What Mistral takes otherwise, in a chat that goes on as it came: it refuses members that it does not know, even with nothing in them,
//! and ids of calls that are not nine letters and digits.

use std::{borrow::Cow, collections::VecDeque};

use schemas::json::Value;

use super::{CALLS, Cuts, THOUGHTS, cut, is_one_of, ranges, standing};
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

pub(super) fn write((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    messages((body, root), cuts, ledger);
    if CALLS.find(body).is_some() {
        ids(root, cuts);
    }
}

/// A message has no place for reasoning, whosever it is.
fn messages((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    let messages = member(root, "messages").and_then(Value::items).into_iter().flatten();
    for (place, message) in messages.enumerate() {
        let members = standing(body, message);
        if members.iter().any(|one| is_one_of(one.name, &THOUGHTS)) {
            ledger.note(format!("messages[{place}] (reasoning)"));
        }
        let goes = members
            .iter()
            .map(|one| is_one_of(one.name, &THOUGHTS) || is_empty(one.value) && is_one_of(one.name, &BESIDE));
        let gone: Vec<bool> = goes.collect();
        cut(&ranges(&members), &gone, cuts);
    }
}

fn is_empty(value: Value<'_>) -> bool {
    value.is_null() || value.items().is_some_and(|mut items| items.next().is_none())
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
        if let Some(id) = member(message, "tool_call_id")
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
