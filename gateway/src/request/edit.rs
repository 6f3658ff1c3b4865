//! Changes in a request's body, spliced in: every byte that is not named by an edit stays what and in what order it was.

use std::ops::Range;

use bytes::Bytes;
use schemas::event::Api;

use super::{Cap, CapMember, Edits, Parsed};

/// A piece of the body to replace; an empty range inserts.
type Splice = (Range<usize>, String);

impl Parsed {
    /// The body with `edits`; the very same bytes if nothing changes.
    pub fn edit(&self, edits: &Edits<'_>) -> Bytes {
        let mut splices = Vec::new();
        if let Some(model) = edits.model.filter(|model| *model != self.model) {
            splices.push((self.spans.model.clone(), quoted(model)));
        }
        if edits.ask_usage && self.stream && !self.wants_usage && self.api == Api::OpenAiChat {
            splices.push(self.ask_usage());
        }
        if let Some(cap) = edits.cap {
            self.lower(cap, &mut splices);
        }
        if splices.is_empty() { self.body.clone() } else { apply(&self.body, splices) }
    }

    fn ask_usage(&self) -> Splice {
        const ASK: &str = "\"include_usage\":true";
        match &self.spans.stream_options {
            None => self.insert(format!("\"stream_options\":{{{ASK}}}")),
            Some(options) => match &options.include_usage {
                Some(flag) => (flag.clone(), "true".to_owned()),
                None if options.null => (options.whole.clone(), format!("{{{ASK}}}")),
                None => {
                    let inside = options.whole.start + 1;
                    (inside..inside, if options.empty { ASK.to_owned() } else { format!("{ASK},") })
                }
            },
        }
    }

    /// Lowers the caps that the body has; if it has none, writes one.
    fn lower(&self, cap: Cap, splices: &mut Vec<Splice>) {
        let given = [
            (CapMember::MaxTokens, self.max_tokens, &self.spans.max_tokens),
            (CapMember::MaxCompletionTokens, self.max_completion_tokens, &self.spans.max_completion_tokens),
        ];
        for (_, tokens, span) in &given {
            if let (Some(tokens), Some(span)) = (tokens, span)
                && *tokens > cap.tokens
            {
                splices.push((span.clone(), cap.tokens.to_string()));
            }
        }
        if self.output_cap().is_none() {
            let null = given.into_iter().find_map(|(member, _, span)| span.clone().filter(|_| member == cap.member));
            splices.push(match null {
                Some(span) => (span, cap.tokens.to_string()),
                None => self.insert(format!("\"{}\":{}", cap.member.name(), cap.tokens)),
            });
        }
    }

    /// A new first member. There is always one behind it, since a request names a model.
    fn insert(&self, member: String) -> Splice {
        let mut member = member;
        member.push(',');
        (self.spans.open..self.spans.open, member)
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
