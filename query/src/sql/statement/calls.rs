//! Functions and words of Postgres in calls of those that the engine has: `substring` by a pattern, `overlay`, `to_char` of a number, `div`,
//! `isfinite`, `localtimestamp`, `'today'::date` and `GROUP BY ()`; and `GROUP BY ROLLUP ((a, b), 3)`.

use std::{mem, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, ObjectNamePart, Select, TypedString, Value, ValueWithSpan, visit_expressions,
};

use super::columns::{is_grouped, meant};
use crate::sql::{
    figures::{self, Pattern},
    reading::rewrite::{call, taken, written},
};

/// What only numbers are written by.
const OF_NUMBERS: &str = "FM90,.SGDLPRTHMIEV -+()$%";

/// What clocks show now.
const LOCAL: &str = "localtimestamp";

/// Writes a call so that the engine knows it, or says why there is none.
pub(super) fn known(expr: &mut Expr) -> ControlFlow<String> {
    let instead = match expr {
        Expr::Substring { expr: of, substring_from: Some(from), substring_for: None, .. } => match text_of(from) {
            Some(pattern) => Some(first_match(taken(of), &pattern)?),
            None => None,
        },
        Expr::Overlay { expr: of, overlay_what, overlay_from, overlay_for } => {
            let args = [of, overlay_what, overlay_from].into_iter().chain(overlay_for);
            let args: Vec<Expr> = args.map(|arg| taken(arg)).collect();
            Some(call("\"overlay\"", args))
        }
        Expr::Function(function) => called(function)?,
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: of, data_type, .. } => {
            text_of(of).and_then(|word| moment(&word, data_type))
        }
        Expr::TypedString(TypedString { data_type, value, .. }) => {
            value.value.clone().into_string().and_then(|word| moment(&word, data_type))
        }
        _ => None,
    };
    if let Some(instead) = instead {
        *expr = instead;
    }
    ControlFlow::Continue(())
}

/// `GROUP BY (a, b)` is by both, and `GROUP BY ()` is one group of all rows, as sums are of without it.
pub(super) fn one_group(select: &mut Select) -> ControlFlow<String> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return ControlFlow::Continue(()) };
    let before = keys.len();
    let parts = |key: Expr| match key {
        Expr::Tuple(parts) => parts,
        key => vec![key],
    };
    *keys = mem::take(keys).into_iter().flat_map(parts).collect();
    if keys.len() < before && !is_grouped(select) {
        return ControlFlow::Break("GROUP BY () is one group: ask for a sum or a count of it".to_owned());
    }
    ControlFlow::Continue(())
}

/// `ROLLUP (1, 2)` → by the columns that the numbers stand for, which the engine knows as keys of their own alone.
pub(super) fn keys_numbered(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    for key in keys {
        let (Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets)) = &mut *key else { continue };
        for key in sets.iter_mut().flatten() {
            if matches!(key, Expr::Value(ValueWithSpan { value: Value::Number(..), .. })) {
                *key = meant(key, &select.projection).clone();
            }
        }
        in_sets(key);
    }
}

/// `ROLLUP ((a, b), c)` → `GROUPING SETS ((a, b, c), (a, b), ())`, and so `CUBE`: to the engine a member of either is one column.
fn in_sets(key: &mut Expr) {
    let (Expr::Cube(members) | Expr::Rollup(members)) = &*key else { return };
    if members.iter().all(|member| member.len() == 1) {
        return;
    }
    let all = members.len();
    let sets: Vec<Vec<Expr>> = if matches!(key, Expr::Rollup(_)) {
        (0..=all).rev().map(|many| members.iter().take(many).flatten().cloned().collect()).collect()
    } else {
        // A set for each number whose bits say which of the members are in it: there are few (`MAX_CUBE`).
        let of = |set: usize| -> Vec<Expr> {
            let chosen = members.iter().enumerate().filter(|(at, _)| (set >> at) & 1 == 1);
            chosen.flat_map(|(_, member)| member).cloned().collect()
        };
        (0..1_usize << all).rev().map(of).collect()
    };
    *key = Expr::GroupingSets(sets);
}

/// The text of a constant.
fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(constant) => constant.value.clone().into_string(),
        Expr::Nested(of) => text_of(of),
        _ => None,
    }
}

fn called(function: &mut Function) -> ControlFlow<String, Option<Expr>> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return ControlFlow::Continue(None) };
    let name = name.value.to_lowercase();
    let list = match &mut function.args {
        FunctionArguments::List(list) => list,
        FunctionArguments::None if name == LOCAL => {
            return ControlFlow::Continue(Some(written("CAST(now() AS TIMESTAMP)")));
        }
        FunctionArguments::None if name == "localtime" => {
            return ControlFlow::Continue(Some(written("CAST(CAST(now() AS TIMESTAMP) AS TIME)")));
        }
        _ => return ControlFlow::Continue(None),
    };
    let args = list.args.iter_mut().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
        _ => None,
    });
    let Some(mut args) = args.collect::<Option<Vec<&mut Expr>>>() else { return ControlFlow::Continue(None) };
    ControlFlow::Continue(match (name.as_str(), args.as_mut_slice()) {
        ("to_char", [number, pattern]) => {
            let Some(text) = text_of(pattern).filter(|text| is_of_numbers(text)) else {
                return ControlFlow::Continue(None);
            };
            if let Err(why) = Pattern::of(&text) {
                return ControlFlow::Break(why);
            }
            Some(call(&format!("\"{}\"", figures::NAME), [taken(number), taken(pattern)]))
        }
        ("div", [of, by]) => {
            let (left, right) =
                (Box::new(call("\"numeric\"", [taken(of)])), Box::new(Expr::Nested(Box::new(taken(by)))));
            let quotient = call("trunc", [Expr::BinaryOp { left, op: BinaryOperator::Divide, right }]);
            let data_type = DataType::Numeric(ExactNumberInfo::PrecisionAndScale(38, 0));
            let expr = Box::new(quotient);
            Some(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
        }
        // There is no time without an end: only of NULL it is not known.
        ("isfinite", [time]) => {
            let left = Box::new(Expr::IsNotNull(Box::new(Expr::Nested(Box::new(taken(time))))));
            let right = Box::new(Expr::Value(Value::Null.into()));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Or, right })))
        }
        // Since the midnight before now.
        ("age", [time]) => Some(call("age", [written("current_date"), taken(time)])),
        (LOCAL, [decimals]) => {
            let Ok(decimals) = decimals.to_string().parse::<u8>() else {
                return ControlFlow::Break("localtimestamp() takes the number of decimals as a constant".to_owned());
            };
            Some(written(&format!("CAST(now() AS TIMESTAMP({decimals}))")))
        }
        _ => None,
    })
}

fn is_of_numbers(pattern: &str) -> bool {
    let pattern = pattern.to_uppercase();
    pattern.contains(['9', '0']) && pattern.chars().all(|letter| OF_NUMBERS.contains(letter))
}

/// A day, or a time of one, by a word that is read when the question is.
fn moment(word: &str, data_type: &DataType) -> Option<Expr> {
    if !matches!(data_type, DataType::Date | DataType::Timestamp(..)) {
        return None;
    }
    let moment = match word.trim().to_lowercase().as_str() {
        "now" => "now()",
        "today" => "current_date",
        "tomorrow" => "CAST(current_date + INTERVAL '1 day' AS DATE)",
        "yesterday" => "CAST(current_date - INTERVAL '1 day' AS DATE)",
        // As a time it is known.
        "epoch" if *data_type == DataType::Date => "CAST('1970-01-01' AS DATE)",
        _ => return None,
    };
    Some(written(&format!("CAST({moment} AS {data_type})")))
}

/// What a pattern finds first, or of that what its first parentheses do; NULL where it finds nothing.
fn first_match(of: Expr, pattern: &str) -> ControlFlow<String, Expr> {
    // In each other they would double what is in them again and again.
    let within = visit_expressions(&of, |part| match part {
        Expr::Function(function) if function.name.to_string() == "regexp_like" => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if within.is_break() {
        return ControlFlow::Break(
            "substring() by a pattern takes no other: name that in a query within FROM".to_owned(),
        );
    }
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).into());
    let group = group(pattern);
    let all = match group {
        Some(_) => format!("(?s)^.*?(?:{pattern}).*$"),
        None => format!("(?s)^.*?({pattern}).*$"),
    };
    let mut part = call("regexp_replace", [of.clone(), text(all), text("\\1".to_owned())]);
    if let Some(group) = group {
        // Parentheses that cannot be empty took no part where there is nothing of them.
        let mut nothing = written("CASE WHEN NULL THEN NULL ELSE '' END");
        if let Expr::Case { conditions, .. } = &mut nothing
            && let Some(first) = conditions.first_mut()
        {
            first.condition = call("regexp_like", [text(String::new()), text(format!("(?s)^(?:{group})$"))]);
        }
        part = call("nullif", [part, nothing]);
    }
    let mut found = written("CASE WHEN NULL THEN NULL END");
    if let Expr::Case { conditions, .. } = &mut found
        && let Some(first) = conditions.first_mut()
    {
        first.condition = call("regexp_like", [of, text(format!("(?s){pattern}"))]);
        first.result = part;
    }
    ControlFlow::Continue(found)
}

/// What stands in the first parentheses of a pattern whose part is asked for.
fn group(pattern: &str) -> Option<&str> {
    let mut letters = pattern.char_indices().peekable();
    let (mut begin, mut open) = (None, 0_usize);
    while let Some((at, letter)) = letters.next() {
        match (letter, begin) {
            ('\\', _) => {
                letters.next();
            }
            ('(', Some(_)) => open += 1,
            ('(', None) if letters.peek().is_none_or(|(_, next)| *next != '?') => begin = Some(at + 1),
            (')', Some(begin)) => match open.checked_sub(1) {
                Some(left) => open = left,
                None => return pattern.get(begin..at),
            },
            // Until the bracket that closes it; one that stands first is a letter.
            ('[', _) => {
                letters.next_if(|(_, next)| *next == '^');
                letters.next_if(|(_, next)| *next == ']');
                while let Some((_, letter)) = letters.next().filter(|(_, letter)| *letter != ']') {
                    if letter == '\\' {
                        letters.next();
                    }
                }
            }
            _ => {}
        }
    }
    begin.and_then(|begin| pattern.get(begin..))
}

#[cfg(test)]
mod tests {
    use super::{group, is_of_numbers};

    #[test]
    fn parentheses_of_a_pattern_are_found() {
        for (pattern, wanted) in [
            ("s.*$", None),
            ("o(.)b", Some(".")),
            ("(?:ab)+", None),
            ("(?:x(a|(b))y)", Some("a|(b)")),
            (r"\(a\)", None),
            ("[(]a", None),
            ("[]()]a", None),
            (r"[\](]a(b)", Some("b")),
            (r"(\)[)]?)", Some(r"\)[)]?")),
            ("(", Some("")),
            ("[", None),
        ] {
            assert_eq!(group(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn patterns_of_numbers_are_none_of_times() {
        for (pattern, wanted) in
            [("FM999,990.00", true), ("999D99", true), ("YYYY-MM-DD", false), ("FMDD", false), ("HH24:MI:SS", false)]
        {
            assert_eq!(is_of_numbers(pattern), wanted, "{pattern}");
        }
    }
}
