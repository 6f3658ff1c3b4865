//! The calls of tools of a streamed chat, each counted once.
//!
//! A call comes in pieces that belong together by the choice and the `index` that they give. The first piece names what is called; some
//! servers name it in each. Google gives several calls one index and tells them apart by their ids.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use schemas::json::Value;

use super::shape::at;
use crate::json;

/// How many calls are remembered, of 40 bytes each: more than answers have. What comes beyond is new each time.
const KNOWN_MAX: usize = 256;

/// The calls that have begun.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Known>);

/// A call that has begun.
#[derive(Debug)]
struct Known {
    choice: u64,
    /// Its place among the calls of its choice; none for the one that a choice had before there could be several.
    index: Option<u64>,
    /// The hash of its id, once a piece has said that: an id may have any length.
    id: Option<u64>,
}

impl Calls {
    /// How many calls begin in a frame.
    pub(super) fn begun(&mut self, frame: Value<'_>) -> u64 {
        let mut begun = 0;
        let choices = at(frame, &["choices"]).and_then(Value::items).into_iter().flatten();
        for (place, choice) in (0_u64..).zip(choices) {
            let Some(named) = json::members(choice, &["index", "delta"]) else { continue };
            let choice = named.count(0).unwrap_or(place);
            let delta = named.value(1).and_then(|delta| json::members(delta, &["tool_calls", "function_call"]));
            let Some(delta) = delta else { continue };
            for call in delta.value(0).and_then(Value::items).into_iter().flatten() {
                begun += u64::from(self.begins(choice, call));
            }
            let older = delta.value(1).is_some_and(has_name);
            begun += u64::from(older && self.is_new(choice, None, None));
        }
        begun
    }

    /// Whether this piece is the first that names its call.
    fn begins(&mut self, choice: u64, piece: Value<'_>) -> bool {
        let Some(named) = json::members(piece, &["index", "id", "function", "custom"]) else { return false };
        if ![2, 3].into_iter().any(|place| named.value(place).is_some_and(has_name)) {
            return false;
        }
        let id = named.text(1).filter(|id| !id.is_empty()).map(|id| hash(&id));
        // What gives no index cannot be told to be known.
        named.count(0).is_none_or(|index| self.is_new(choice, Some(index), id))
    }

    /// Whether no such call is known; from now on it is.
    fn is_new(&mut self, choice: u64, index: Option<u64>, id: Option<u64>) -> bool {
        let is_it = |known: &&mut Known| {
            (known.choice, known.index) == (choice, index) && (known.id == id || known.id.is_none() || id.is_none())
        };
        if let Some(known) = self.0.iter_mut().find(is_it) {
            known.id = known.id.or(id);
            return false;
        }
        if self.0.len() < KNOWN_MAX {
            self.0.push(Known { choice, index, id });
        }
        true
    }
}

/// Whether it names what is called.
fn has_name(called: Value<'_>) -> bool {
    at(called, &["name"]).and_then(Value::text).is_some_and(|name| !name.is_empty())
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use schemas::json::Tree;

    use super::*;

    /// A frame whose choices have these indices and deltas.
    fn frame(choices: &[(u64, String)]) -> String {
        let choice = |(index, delta): &(u64, String)| format!(r#"{{"index":{index},"delta":{delta}}}"#);
        format!(r#"{{"choices":[{}]}}"#, choices.iter().map(choice).collect::<Vec<_>>().join(","))
    }

    /// A delta of these pieces of calls.
    fn delta(pieces: &[&str]) -> String {
        format!(r#"{{"tool_calls":[{}]}}"#, pieces.join(","))
    }

    /// Counts the calls of a stream of these frames.
    fn check(frames: &[String], wanted: u64) {
        let mut calls = Calls::default();
        let mut begun = 0;
        for frame in frames {
            let tree = Tree::read(frame.as_bytes()).unwrap();
            begun += calls.begun(tree.root());
        }
        assert_eq!(begun, wanted, "{frames:?}");
    }

    /// Counts those of a stream of one choice, a piece a frame.
    fn check_pieces(pieces: &[&str], wanted: u64) {
        let frames: Vec<String> = pieces.iter().map(|piece| frame(&[(0, delta(&[piece]))])).collect();
        check(&frames, wanted);
    }

    #[test]
    fn a_call_is_one_however_often_it_is_named() {
        let (with_id, bare) =
            (r#"{"index":0,"id":"a","function":{"name":"f"}}"#, r#"{"index":0,"id":"","function":{"name":"f"}}"#);
        let (null, rest) =
            (r#"{"index":0,"id":null,"function":{"name":"f"}}"#, r#"{"index":0,"function":{"arguments":"x"}}"#);
        check_pieces(&[with_id; 4], 1);
        check_pieces(&[with_id, bare, null, rest], 1);
        check_pieces(&[bare, with_id, with_id], 1);
        check_pieces(&[rest, r#"{"index":0,"id":"a","function":{"name":""}}"#], 0);
        check_pieces(&[rest, with_id], 1);
    }

    #[test]
    fn what_gives_another_index_or_id_or_no_index_is_another_call() {
        let call = |index: u64, id: &str| format!(r#"{{"index":{index},"id":"{id}","function":{{"name":"f"}}}}"#);
        let (a, b, second) = (call(0, "a"), call(0, "b"), call(1, ""));
        check(&[frame(&[(0, delta(&[&a, &b]))]), frame(&[(0, delta(&[&b, &a]))])], 2);
        check_pieces(&[&a, &second, &a, &second], 2);
        // A call that was told without its id has it from then on.
        check_pieces(&[&call(0, ""), &a, &b], 2);
        let loose = r#"{"id":"a","function":{"name":"f"}}"#;
        check_pieces(&[loose, loose], 2);
        // The same of another choice.
        check(&[frame(&[(0, delta(&[&a])), (1, delta(&[&a]))]), frame(&[(1, delta(&[&a]))])], 2);
    }

    #[test]
    fn other_forms_count_too_and_nothing_else_does() {
        let custom = r#"{"index":0,"id":"a","custom":{"name":"f","input":"x"}}"#;
        check_pieces(&[custom, custom], 1);
        let older = |choice| frame(&[(choice, r#"{"function_call":{"name":"f","arguments":"x"}}"#.to_owned())]);
        check(&[older(0), older(0), older(1)], 2);
        for other in [
            r#"{"name":"f"}"#,
            r#"{"choices":{"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}}"#,
            r#"{"choices":[null,{"delta":null},{"delta":{"tool_calls":[null,{"index":0,"function":"name"}],"name":"f"}}]}"#,
            r#"{"choices":[{"message":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#,
        ] {
            check(&[other.to_owned()], 0);
        }
    }

    #[test]
    fn beyond_what_is_remembered_each_is_new() {
        let frames = |last: usize| {
            let call = |index: usize| format!(r#"{{"index":{index},"id":"a","function":{{"name":"f"}}}}"#);
            let indices = (0..=last).chain([0, last]);
            indices.map(|index| frame(&[(0, delta(&[&call(index)]))])).collect::<Vec<_>>()
        };
        check(&frames(KNOWN_MAX - 1), 256);
        check(&frames(KNOWN_MAX), 258);
    }
}
