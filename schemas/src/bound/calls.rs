//! The most calls of tools that an answer can have.

use crate::json::{Kind, Value};

/// The members that give a model tools, or refer to what may.
const TOOLS: [&str; 5] = ["tools", "functions", "toolConfig", "cachedContent", "promptVariables"];

/// The most calls of so many answers with so many tokens of output: none where the model is given no tool or is to call none, one in each where
/// it may not call several at once, and else no more than there are tokens.
pub(super) fn most(body: Value<'_>, answers: u64, output: u64) -> u64 {
    let given = |name: &&str| match member(body, name).map(Value::kind) {
        None | Some(Kind::Null) => false,
        Some(Kind::List(mut tools)) => tools.next().is_some(),
        Some(_) => true,
    };
    let is = |value: Option<Value<'_>>, wanted| {
        value.is_some_and(|value| matches!(value.kind(), Kind::Bool(found) if found == wanted))
    };
    let choice = member(body, "tool_choice");
    let is_none = |choice: Value<'_>| choice.text().is_some_and(|word| word == *"none");
    let calls_none = choice.is_some_and(|choice| is_none(choice) || member(choice, "type").is_some_and(is_none));
    if calls_none || !TOOLS.iter().any(given) {
        return 0;
    }
    let one = is(member(body, "parallel_tool_calls"), false)
        || is(choice.and_then(|choice| member(choice, "disable_parallel_tool_use")), true);
    if one { answers.min(output) } else { output }
}

fn member<'t>(value: Value<'t>, wanted: &str) -> Option<Value<'t>> {
    value.members()?.find(|(name, _)| *name == *wanted).map(|(_, value)| value)
}
