//! What only another provider takes, taken out of a request that goes on as it came: reasoning that it proved, and its ids of calls.
//!
//! A client gets foreign proofs in its own dialect's place for one (`seal`) and sends them back with the conversation. Where that is
//! translated they are left away as it is written; where the target speaks the client's dialect the body passes byte for byte, and a
//! provider refuses the whole conversation for a proof that is not its own. So those blocks, and nothing else, are cut out by their spans
//! and listed. What has no block of reasoning is searched once and not looked at. What Mistral takes otherwise is written its way (`mistral`).

use std::{borrow::Cow, fmt, ops::Range, sync::LazyLock};

use memchr::memmem::Finder;
use schemas::{
    event::Api,
    json::{Text, Value},
};

use crate::{
    json::{self, member},
    translate::{
        Flavor,
        fields::Ledger,
        seal::{Maker, Seal},
    },
};

mod mistral;

/// A body without the reasoning of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) body: Vec<u8>,
    /// What was left away, by path.
    pub(crate) dropped: Vec<String>,
}

/// What stands in every body that has a block of reasoning, by API.
static MESSAGES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("thinking\""));
static RESPONSES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"encrypted_content\""));
static CHAT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"reasoning_details\""));
static CALLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"tool_call"));

/// Pieces of a body that are cut out or replaced.
type Cuts = Vec<(Range<usize>, Cow<'static, str>)>;

/// The body without what only another provider could check or takes; nothing if there is none of it.
pub(crate) fn leave(api: Api, flavor: Flavor, body: &[u8], root: Value<'_>) -> Option<Left> {
    let (mut cuts, mut ledger) = (Cuts::new(), Ledger::default());
    match api {
        Api::AnthropicMessages | Api::AnthropicCountTokens => {
            MESSAGES.find(body)?;
            messages(root, &mut cuts, &mut ledger);
        }
        Api::OpenAiResponses => {
            RESPONSES.find(body)?;
            let items: Vec<Value<'_>> = member(root, "input")?.items()?.collect();
            let gone = noted(
                &items,
                format_args!("input"),
                |item| is_foreign(item, "reasoning", "encrypted_content"),
                &mut ledger,
            );
            cut(&spans(&items), &gone, &mut cuts);
        }
        Api::OpenAiChat => match flavor {
            Flavor::Mistral => mistral::write((body, root), &mut cuts, &mut ledger),
            Flavor::Common | Flavor::OpenAi if CHAT.find(body).is_some() => chat((body, root), &mut cuts, &mut ledger),
            Flavor::Common | Flavor::OpenAi | Flavor::OpenRouter => {}
        },
        _ => return None,
    }
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_by_key(|(range, _)| range.start);
    let (mut left, mut done) = (Vec::with_capacity(body.len()), 0);
    for (range, instead) in cuts {
        left.extend_from_slice(body.get(done..range.start).unwrap_or_default());
        left.extend_from_slice(instead.as_bytes());
        done = range.end;
    }
    left.extend_from_slice(body.get(done..).unwrap_or_default());
    Some(Left { body: left, dropped: ledger.lines() })
}

fn messages(root: Value<'_>, cuts: &mut Cuts, ledger: &mut Ledger) {
    let messages: Vec<Value<'_>> = member(root, "messages").and_then(Value::items).into_iter().flatten().collect();
    let mut empty = vec![false; messages.len()];
    let mut led_by_another = false;
    for ((place, message), empty) in messages.iter().enumerate().zip(&mut empty) {
        let Some(blocks) = member(*message, "content").and_then(Value::items) else { continue };
        let blocks: Vec<Value<'_>> = blocks.collect();
        let gone = noted(&blocks, format_args!("messages[{place}].content"), is_foreign_block, ledger);
        // No provider takes a message without content, and each takes two of the user's in a row.
        *empty = !gone.is_empty() && gone.iter().all(|gone| *gone);
        if !*empty {
            cut(&spans(&blocks), &gone, cuts);
        }
        let has = |kinds: &[&str]| {
            let mut kept = blocks.iter().zip(&gone).filter(|(_, gone)| !**gone);
            kept.any(|(block, _)| kinds.iter().any(|kind| is_of(*block, kind)))
        };
        if member(*message, "role").and_then(Value::word).as_deref() == Some("assistant") {
            let was_cut = gone.contains(&true);
            led_by_another = was_cut && has(&["tool_use"]) && !has(&["thinking", "redacted_thinking"]);
        }
    }
    cut(&spans(&messages), &empty, cuts);
    // Calls that thinking led to are gone on from with thinking or without; with a budget the provider wants the thinking before them.
    if led_by_another && let Some(thinking) = member(root, "thinking").filter(|thinking| is_of(*thinking, "enabled")) {
        ledger.note("thinking (the last calls have no reasoning of this provider)");
        cuts.push((thinking.span(), Cow::Borrowed(r#"{"type":"disabled"}"#)));
    }
}

/// The members of a chat's message that have its reasoning.
const THOUGHTS: [&str; 3] = ["reasoning_details", "reasoning_content", "reasoning"];

/// Takes the reasoning out of messages that others proved: its text goes with its proofs. What is not known to be of another stays.
fn chat((body, root): (&[u8], Value<'_>), cuts: &mut Cuts, ledger: &mut Ledger) {
    let messages = member(root, "messages").and_then(Value::items).into_iter().flatten();
    for (place, message) in messages.enumerate() {
        let details = member(message, "reasoning_details").and_then(Value::items);
        let of_others = |detail: Value<'_>| {
            let format = member(detail, "format").and_then(Value::word);
            format.as_deref().and_then(Maker::of_format).is_some_and(|maker| maker != Maker::Chat)
        };
        if !details.is_some_and(|mut details| details.any(of_others)) {
            continue;
        }
        ledger.note(format!("messages[{place}] (reasoning)"));
        let members = standing(body, message);
        let gone: Vec<bool> = members.iter().map(|one| is_one_of(one.name, &THOUGHTS)).collect();
        cut(&ranges(&members), &gone, cuts);
    }
}

/// A member of an object, and where it stands from behind the comma before it.
struct Member<'t> {
    name: Text<'t>,
    value: Value<'t>,
    range: Range<usize>,
}

fn standing<'t>(body: &[u8], object: Value<'t>) -> Vec<Member<'t>> {
    let mut from = object.span().start + 1;
    let stands = |(name, value): (Text<'t>, Value<'t>)| {
        let end = value.span().end;
        let range = from..end;
        from = end + 1 + body.get(end..).unwrap_or_default().iter().take_while(|byte| **byte != b',').count();
        Member { name, value, range }
    };
    object.members().into_iter().flatten().map(stands).collect()
}

fn ranges(members: &[Member<'_>]) -> Vec<Range<usize>> {
    members.iter().map(|one| one.range.clone()).collect()
}

fn is_one_of(name: Text<'_>, names: &[&str]) -> bool {
    names.iter().any(|known| name == **known)
}

fn is_foreign_block(block: Value<'_>) -> bool {
    is_foreign(block, "thinking", "signature") || is_foreign(block, "redacted_thinking", "data")
}

/// Whether a block is of this type, with a proof that was packed for the way to a client.
fn is_foreign(block: Value<'_>, kind: &str, proof: &str) -> bool {
    is_of(block, kind) && member(block, proof).and_then(Value::word).is_some_and(|proof| Seal::is_packed(&proof))
}

fn is_of(block: Value<'_>, kind: &str) -> bool {
    json::members(block, &["type"]).and_then(|named| named.text(0)).as_deref() == Some(kind)
}

/// Which of these are foreign; each is listed.
fn noted(
    items: &[Value<'_>],
    at: fmt::Arguments<'_>,
    is: impl Fn(Value<'_>) -> bool,
    ledger: &mut Ledger,
) -> Vec<bool> {
    let of = |(place, item): (usize, &Value<'_>)| {
        let is = is(*item);
        if is {
            ledger.note(format!("{at}[{place}] (reasoning)"));
        }
        is
    };
    items.iter().enumerate().map(of).collect()
}

fn spans(items: &[Value<'_>]) -> Vec<Range<usize>> {
    items.iter().map(|item| item.span()).collect()
}

/// Cuts items out of a list, each with one comma: the one before it, or, as long as none is kept, the one behind it.
fn cut(items: &[Range<usize>], gone: &[bool], cuts: &mut Cuts) {
    let mut kept: Option<usize> = None;
    for (place, (span, gone)) in items.iter().zip(gone).enumerate() {
        let next = items.get(place + 1).map_or(span.end, |next| next.start);
        match (gone, kept) {
            (false, _) => {}
            (true, None) => cuts.push((span.start..next, Cow::Borrowed(""))),
            (true, Some(before)) => cuts.push((before..span.end, Cow::Borrowed(""))),
        }
        kept = if !gone || kept.is_some() { Some(span.end) } else { None };
    }
}

#[cfg(test)]
mod tests {
    use schemas::json::Tree;

    use super::*;
    use crate::translate::ids::Form;

    fn check(api: Api, body: &str, wanted: Option<(&str, &[&str])>) {
        let tree = Tree::read(body.as_bytes()).unwrap();
        let left = leave(api, Flavor::Common, body.as_bytes(), tree.root());
        let found = left.as_ref().map(|left| (std::str::from_utf8(&left.body).unwrap(), left.dropped.clone()));
        let wanted = wanted.map(|(body, dropped)| (body, dropped.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(found, wanted, "{body}");
        if let Some((body, _)) = found {
            Tree::read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error:?}"));
        }
    }

    const THEIRS: &str = r#"{"type":"thinking","thinking":"hm","signature":"chat:thinking:"}"#;
    const OWN: &str = r#"{"type":"thinking","thinking":"hm", "signature":"EuA+/="}"#;
    const CALL: &str = r#"{"type":"redacted_thinking","data":"google:call:abc"}"#;
    const USE: &str = r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#;

    #[test]
    fn foreign_reasoning_is_cut_out_and_every_other_byte_stays() {
        let said = |content: &str, more: &str| {
            format!(
                r#"{{"messages":[ {{"role":"user","content":"hi"}}, {{"role":"assistant","content":[{content}]}},{{"role":"user","content":"on"}} ]{more}}}"#
            )
        };
        let first: &[&str] = &["messages[1].content[0] (reasoning)"];
        let text = r#"{"type":"text","text":"\"chat:thinking:"}"#;
        let messages = |content: String, more: &str, left: &str, more_left: &str, dropped: &[&str]| {
            check(Api::AnthropicMessages, &said(&content, more), Some((&said(left, more_left), dropped)));
        };
        messages(format!("{THEIRS} , {text}"), "", text, "", first);
        let both: &[&str] = &["messages[1].content[0] (reasoning)", "messages[1].content[2] (reasoning)"];
        messages(format!("{THEIRS},{text}, {CALL} ,{USE}"), "", &format!("{text} ,{USE}"), "", both);
        let last: &[&str] = &["messages[1].content[1] (reasoning)", "messages[1].content[2] (reasoning)"];
        messages(format!("{OWN}, {THEIRS},{CALL}"), "", OWN, "", last);
        messages(
            format!("{THEIRS},{OWN},{USE}"),
            r#","thinking":{"type":"enabled"}"#,
            &format!("{OWN},{USE}"),
            r#","thinking":{"type":"enabled"}"#,
            first,
        );
        // A call that another's reasoning led to is not gone on from with a budget.
        let both: &[&str] =
            &["messages[1].content[0] (reasoning)", "thinking (the last calls have no reasoning of this provider)"];
        messages(
            format!("{THEIRS},{USE}"),
            r#","thinking":{"type":"enabled","budget_tokens":2048}"#,
            USE,
            r#","thinking":{"type":"disabled"}"#,
            both,
        );
        messages(
            format!("{THEIRS},{USE}"),
            r#","thinking":{"type":"adaptive"}"#,
            USE,
            r#","thinking":{"type":"adaptive"}"#,
            first,
        );
        // A message of nothing else goes as a whole.
        let bare = r#"{"messages":[ {"role":"user","content":"hi"},{"role":"user","content":"on"} ]}"#;
        check(Api::AnthropicMessages, &said(THEIRS, ""), Some((bare, first)));
        check(Api::AnthropicCountTokens, &said(THEIRS, ""), Some((bare, first)));
        for plain in [
            OWN,
            text,
            r#"{"type":"redacted_thinking","data":"google:else:abc"}"#,
            r#"{"type":"later","signature":"chat:thinking:"}"#,
        ] {
            check(Api::AnthropicMessages, &said(plain, r#","thinking":{"type":"adaptive"}"#), None);
        }
        check(Api::OpenAiChat, &said(THEIRS, ""), None);
    }

    #[test]
    fn a_chat_goes_without_the_reasoning_that_others_proved() {
        let said = |message: &str| format!(r#"{{"messages":[{{"role":"user","content":"hi"}},{{{message}}}]}}"#);
        let details = |format: &str| {
            let detail = r#"{"type":"reasoning.text","text":"h,m","signature":"S""#;
            format!(r#""reasoning_details" : [{detail},"format":"{format}"}}]"#)
        };
        let (theirs, text) = (details("anthropic-claude-v1"), r#""reasoning_content":"h,m""#);
        let listed: &[&str] = &["messages[1] (reasoning)"];
        let role = r#""role":"assistant""#;
        for (before, after) in [
            (format!(r#"{role}, {text} , {theirs},"content":"a,b" "#), format!(r#"{role},"content":"a,b" "#)),
            (format!("{theirs},{text} ,{role}"), role.to_owned()),
            (format!(r#" {role} , "content":"x",{theirs} "#), format!(r#" {role} , "content":"x" "#)),
        ] {
            check(Api::OpenAiChat, &said(&before), Some((&said(&after), listed)));
            let body = said(&before);
            let tree = Tree::read(body.as_bytes()).unwrap();
            assert_eq!(
                leave(Api::OpenAiChat, Flavor::OpenRouter, body.as_bytes(), tree.root()),
                None,
                "it passes that on"
            );
        }
        let own = details("unknown");
        for kept in [text, own.as_str(), r#""content":"a \"reasoning_details\" b""#] {
            check(Api::OpenAiChat, &said(kept), None);
        }
    }

    #[test]
    fn a_chat_has_the_ids_of_calls_that_its_target_takes() {
        let call = |id: &str| {
            format!(r#"{{ "type":"function", "id" : "{id}" ,"function":{{"name":"f","arguments":"{{}}"}}}}"#)
        };
        let said = |[one, other]: [&str; 2], more: &str| {
            let results =
                [one, other].map(|id| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"call_1"}}"#));
            let calls = [call(one), call(other)].join(" , ");
            format!(r#"{{"messages":[{{"role":"assistant"{more},"tool_calls":[{calls}]}}, {}]}}"#, results.join(","))
        };
        let left = |flavor: Flavor, body: &str| {
            let tree = Tree::read(body.as_bytes()).unwrap();
            let left = leave(Api::OpenAiChat, flavor, body.as_bytes(), tree.root());
            left.map(|left| (String::from_utf8(left.body).unwrap(), left.dropped))
        };
        let own = "D681PevKs";
        let [first, second] = ["call_abcdefgh12345", "toolu_01A09q"].map(|id| Form::Nine.fit(id));
        for (before, after) in [
            (["call_abcdefgh12345", own], [first.as_str(), own]),
            (["call_abcdefgh12345", "toolu_01A09q"], [first.as_str(), second.as_str()]),
        ] {
            assert_eq!(left(Flavor::Mistral, &said(before, "")), Some((said(after, ""), Vec::new())));
            assert_eq!(left(Flavor::Common, &said(before, "")), None);
        }
        assert_eq!(left(Flavor::Mistral, &said([own, "123456789"], "")), None);
        let theirs = r#","reasoning_details":[{"type":"reasoning.text","text":"h","signature":"S","format":"anthropic-claude-v1"}]"#;
        let plain = r#","reasoning_content":"h","content":"x""#;
        let none = left(Flavor::Mistral, &said([own, "123456789"], plain));
        assert_eq!(
            none,
            Some((said([own, "123456789"], r#","content":"x""#), vec!["messages[0] (reasoning)".to_owned()]))
        );
        assert_eq!(left(Flavor::Common, &said([own, "123456789"], plain)), None);
        let bare = r#","refusal":null,"content":"x","annotations":[] "#;
        assert_eq!(
            left(Flavor::Mistral, &said([own, "123456789"], bare)),
            Some((said([own, "123456789"], r#","content":"x" "#), Vec::new()))
        );
        assert_eq!(left(Flavor::Mistral, &said([own, "123456789"], r#","refusal":"No.","audio":{"id":"a"}"#)), None);
        let both = left(Flavor::Mistral, &said(["toolu_01A09q", own], theirs));
        assert_eq!(both, Some((said([second.as_str(), own], ""), vec!["messages[0] (reasoning)".to_owned()])));
    }

    #[test]
    fn calls_that_share_an_id_get_ids_of_their_own_at_mistral() {
        let said = |ids: [&str; 4]| {
            let [a, b, c, d] = ids.map(|id| format!(r#"{{"id":"{id}","function":{{"name":"f","arguments":"{{}}"}}}}"#));
            let result = |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"r"}}"#);
            let [ra, rb, rc, rd] = ids.map(result);
            let turn = |calls: &str| format!(r#"{{"role":"assistant","tool_calls":[{calls}]}}"#);
            let (first, second) = (turn(&format!("{a},{b},{c}")), turn(&d));
            format!(r#"{{"messages":[{first},{ra},{rb},{rc},{second},{rd}]}}"#)
        };
        let own = "D681PevKs";
        for shared in ["call_0", "", own] {
            let one = Form::Nine.fit(shared);
            let [two, three] = [2, 3].map(|number: u8| Form::Nine.fit(&format!("{one}-{number}")));
            let other = if shared == own { "a23456789" } else { own };
            let body = said([shared, shared, other, shared]);
            let tree = Tree::read(body.as_bytes()).unwrap();
            let left = leave(Api::OpenAiChat, Flavor::Mistral, body.as_bytes(), tree.root()).unwrap();
            assert_eq!(
                String::from_utf8(left.body).unwrap(),
                said([one.as_str(), two.as_str(), other, three.as_str()])
            );
            assert!(left.dropped.is_empty(), "{:?}", left.dropped);
        }
    }

    #[test]
    fn a_response_goes_without_the_reasoning_of_others() {
        let item = |proof: &str| format!(r#"{{"type":"reasoning","summary":[],"encrypted_content":"{proof}"}}"#);
        let said = |items: &str| format!(r#"{{"input":[{items}{{"role":"user","content":"on"}}]}}"#);
        let body = said(&format!("{}, {},", item("anthropic:thinking:abc"), item("gAAA")));
        check(Api::OpenAiResponses, &body, Some((&said(&format!("{},", item("gAAA"))), &["input[0] (reasoning)"])));
        check(Api::OpenAiResponses, &said(&format!("{},", item("gAAA"))), None);
        check(Api::OpenAiResponses, r#"{"input":"the \"encrypted_content\" of it"}"#, None);
    }
}
