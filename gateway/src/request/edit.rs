//! Changes in a request's body, spliced in: every byte that is not named by an edit stays what and in what order it was.

use std::ops::Range;

use bytes::Bytes;
use memchr::memrchr;
use schemas::{event::Api, json::Tree};

use super::{Around, BodyKind, Cap, CapMember, Edits, Parsed, form};
use crate::json::member;

/// A piece of the body to replace; an empty range inserts.
type Splice = (Range<usize>, String);

impl Parsed {
    /// The body with `edits`; the very same bytes if nothing changes.
    pub fn edit(&self, edits: &Edits<'_>) -> Bytes {
        let mut splices = Vec::new();
        splices.extend(edits.model.and_then(|model| self.name(model)));
        let can_ask = matches!(self.api, Api::OpenAiChat | Api::OpenAiCompletions);
        if edits.ask_usage && self.stream && !self.wants_usage && can_ask {
            splices.push(self.ask_usage());
        }
        if let Some(cap) = edits.cap {
            self.lower(cap, &mut splices);
        }
        if splices.is_empty() { self.body.clone() } else { apply(&self.body, splices) }
    }

    /// The body with one more message at the end of its conversation; nothing where it has no list of messages.
    pub fn with_message(&self, role: &str, text: &str) -> Option<Bytes> {
        let tree = Tree::read(&self.body).ok()?;
        let messages = member(tree.root(), "messages")?;
        let is_first = messages.items()?.next().is_none();
        let end = messages.span().end - 1;
        let comma = if is_first { "" } else { "," };
        let message = format!("{comma}{{\"role\":{},\"content\":{}}}", quoted(role), quoted(text));
        Some(apply(&self.body, vec![(end..end, message)]))
    }

    /// The body of the same request for an answer that comes whole.
    pub fn unstreamed(&self) -> Bytes {
        let Some(tree) = Tree::read(&self.body).ok().filter(|_| self.stream) else { return self.body.clone() };
        let put = |name: &str, text: &str| Some((member(tree.root(), name)?.span(), text.to_owned()));
        // Options of a stream are refused where there is none.
        apply(&self.body, put("stream", "false").into_iter().chain(put("stream_options", "null")).collect())
    }

    /// Names the model in the body, unless it is named so there.
    fn name(&self, model: &str) -> Option<Splice> {
        let named = match self.spans.kind {
            BodyKind::Unread => return None,
            BodyKind::Object => quoted(model),
            BodyKind::Form => model.to_owned(),
        };
        match &self.spans.model {
            // The name may be written in another way that means the same.
            Some(_) if *model == self.model && self.named_in_body => None,
            Some(span) => (self.body.get(span.clone()) != Some(named.as_bytes())).then(|| (span.clone(), named)),
            None if self.is_form() => {
                let field = form::put(&self.body, self.spans.open, "model", &named)?;
                Some((self.spans.open..self.spans.open, field))
            }
            None => Some(self.insert(format!("\"model\":{named}"))),
        }
    }

    fn ask_usage(&self) -> Splice {
        const ASK: &str = "\"include_usage\":true";
        match &self.spans.stream_options {
            None => self.insert(format!("\"stream_options\":{{{ASK}}}")),
            Some(options) => match &options.include_usage {
                Some(flag) => (flag.clone(), "true".to_owned()),
                None => options.around.put(ASK),
            },
        }
    }

    /// Lowers the caps that the body has, and sees to it that one is in the member that is asked for.
    fn lower(&self, cap: Cap, splices: &mut Vec<Splice>) {
        let given = [
            (Some(CapMember::MaxTokens), self.max_tokens, &self.spans.max_tokens),
            (Some(CapMember::MaxCompletionTokens), self.max_completion_tokens, &self.spans.max_completion_tokens),
            (CapMember::of(self.api), self.other_cap, &self.spans.other_cap),
        ];
        let is_own = |member: Option<CapMember>| member == Some(cap.member);
        let mut kept = None;
        for (_, tokens, span) in given.into_iter().filter(|(member, ..)| !is_own(*member)) {
            let (Some(tokens), Some(span)) = (tokens, span) else { continue };
            let is_passed = cap.is_passed_by(tokens);
            kept = kept.or(Some((span, if is_passed { cap.tokens } else { tokens })));
            if is_passed {
                splices.push((span.clone(), cap.tokens.to_string()));
            }
        }
        // Some servers refuse a request that has both, so the one goes where the other comes.
        let moved = kept.filter(|_| cap.member.is_either());
        match given.into_iter().find(|(member, ..)| is_own(*member)) {
            Some((_, Some(tokens), Some(span))) if cap.is_passed_by(tokens) => {
                splices.push((span.clone(), cap.tokens.to_string()));
            }
            Some((_, Some(_), Some(_))) => {}
            Some((_, None, Some(span))) => {
                splices.push((span.clone(), moved.map_or(cap.tokens, |(_, tokens)| tokens).to_string()));
                if let Some((other, _)) = moved {
                    splices.retain(|(place, _)| place != other);
                    splices.push((other.clone(), "null".to_owned()));
                }
            }
            _ => splices.push(match moved.and_then(|(other, _)| self.name_before(other)) {
                Some(name) => (name, quoted(cap.member.name())),
                None => self.write(cap),
            }),
        }
    }

    /// A cap where there is none.
    fn write(&self, cap: Cap) -> Splice {
        let member = format!("\"{}\":{}", cap.member.name(), cap.tokens);
        match (&self.spans.around, cap.member.within()) {
            (Some(around), Some(_)) => around.put(&member),
            (None, Some(within)) => self.insert(format!("\"{within}\":{{{member}}}")),
            (_, None) => self.insert(member),
        }
    }

    /// Where the name of a member stands whose value stands there. In none of the names that are looked for stands a quote.
    fn name_before(&self, value: &Range<usize>) -> Option<Range<usize>> {
        let before = self.body.get(..value.start)?;
        let end = memrchr(b'"', before)?;
        let start = memrchr(b'"', before.get(..end)?)?;
        Some(start..end + 1)
    }

    /// A new first member.
    fn insert(&self, member: String) -> Splice {
        let mut member = member;
        // Where the path names the model there may be none behind it.
        let rest = self.body.get(self.spans.open..).unwrap_or_default().trim_ascii_start();
        if !rest.starts_with(b"}") {
            member.push(',');
        }
        (self.spans.open..self.spans.open, member)
    }
}

impl Around {
    /// A new first member of the object.
    fn put(&self, member: &str) -> Splice {
        if self.null {
            return (self.whole.clone(), format!("{{{member}}}"));
        }
        let inside = self.whole.start + 1;
        (inside..inside, if self.empty { member.to_owned() } else { format!("{member},") })
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn apply(body: &Bytes, mut splices: Vec<Splice>) -> Bytes {
    splices.sort_by_key(|(range, _)| range.start);
    let added: usize = splices.iter().map(|(_, text)| text.len()).sum();
    let mut edited = Vec::with_capacity(body.len() + added);
    let mut done = 0;
    for (range, text) in splices {
        edited.extend_from_slice(body.get(done..range.start).unwrap_or_default());
        edited.extend_from_slice(text.as_bytes());
        done = range.end;
    }
    edited.extend_from_slice(body.get(done..).unwrap_or_default());
    Bytes::from(edited)
}
