//! SQL that says in its own head what it answers: the form of every file in `views` and `reports`.
//!
//! A file begins with comments: what it answers, which of the questions of finance teams it is (`questions:`), its parameters
//! (`param NAME (KIND) = DEFAULT: meaning`), its columns (`column NAME [UNIT]: meaning`), and what to draw (`chart:`). The rest is one
//! query. Whoever lists views or reports, or documents columns, reads it from there, so that it stands in one place.
//!
//! A query may say `known_sum(cost_usd)`, or `known_sum(cost_usd WHERE …)`: a sum of which nothing known may be left ([`known_sums`]); and
//! `token_class IN (units)`: the classes that are counted in units, and are no tokens.

use schemas::tokens::TokenClass;

/// A query and what its head says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// What it answers.
    pub about: String,
    /// The numbers of the questions that it answers.
    pub questions: Vec<u8>,
    /// What can be said to it.
    pub parameters: Vec<Parameter>,
    /// What it gives.
    pub columns: Vec<Documented>,
    /// What is drawn of it: a kind and names of columns.
    pub chart: Vec<&'static str>,
    /// The query.
    pub sql: &'static str,
}

/// Something that can be said to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What may be said.
    pub kind: &'static str,
    /// What holds if nothing is.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Its name.
    pub name: &'static str,
    /// Its unit; empty where its name or kind says it.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
}

impl Described {
    /// Reads a file. What its head says wrongly is left out, and a test proves that nothing is.
    pub(crate) fn of(name: &'static str, text: &'static str) -> Self {
        let mut found = Self {
            name,
            about: String::new(),
            questions: Vec::new(),
            parameters: Vec::new(),
            columns: Vec::new(),
            chart: Vec::new(),
            sql: text,
        };
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n').filter(|(line, _)| line.starts_with("--")) {
            found.line(line.trim_start_matches("--").trim());
            rest = after;
        }
        let sql = rest.trim();
        // A file is read once, and is there as long as the process.
        let is_plain = !sql.contains(KNOWN_SUM) && !sql.contains(UNITS);
        found.sql = if is_plain { sql } else { known_sums(&sql.replace(UNITS, &units())).leak() };
        found
    }

    fn line(&mut self, line: &'static str) {
        if let Some(numbers) = line.strip_prefix("questions:") {
            self.questions = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        } else if let Some(chart) = line.strip_prefix("chart:") {
            self.chart = chart.split_whitespace().collect();
        } else if let Some((head, doc)) = line.strip_prefix("param ").and_then(|rest| rest.split_once(':')) {
            let said = head.split_once(" (").and_then(|(name, rest)| Some((name, rest.split_once(") =")?)));
            self.parameters.extend(said.map(|(name, (kind, default))| Parameter {
                name,
                kind,
                default: default.trim(),
                doc: doc.trim(),
            }));
        } else if let Some((head, doc)) = line.strip_prefix("column ").and_then(|rest| rest.split_once(':')) {
            let (name, unit) =
                head.split_once(" [").map_or((head, ""), |(name, unit)| (name, unit.trim_end_matches(']')));
            self.columns.push(Documented { name, unit, doc: doc.trim() });
        } else {
            self.about.push_str(if self.about.is_empty() { "" } else { " " });
            self.about.push_str(line);
        }
    }
}

/// What stands for the list of all classes that are units.
const UNITS: &str = "(units)";

/// That list.
fn units() -> String {
    let units = TokenClass::ALL.into_iter().filter(|class| class.is_unit());
    let names: Vec<String> = units.map(|class| format!("'{}'", class.name())).collect();
    format!("({})", names.join(", "))
}

/// What stands before a sum of what is known.
const KNOWN_SUM: &str = "known_sum(";

/// A query with its sums of what is known as SQL has them.
///
/// What has a price, and then none any more, is a row that is charged, one that takes it back, and one without a cost. Their sum is 0 in SQL,
/// though nobody knows the cost of any of it. So a sum is NULL where of what is known nothing stands, in quantity as in cost, and of what is not
/// something does. Rollups have all sums that this needs.
pub(crate) fn known_sums(text: &str) -> String {
    let (mut sql, mut rest) = (String::with_capacity(text.len() * 2), text);
    while let Some((before, after)) = rest.split_once(KNOWN_SUM) {
        let (of, tail) = after.split_at(closing(after));
        sql.push_str(before);
        sql.push_str(&known_sum(of));
        rest = tail.strip_prefix(')').unwrap_or(tail);
    }
    sql.push_str(rest);
    sql
}

/// Where the parenthesis closes that is open before a text.
fn closing(text: &str) -> usize {
    let mut open = 1_usize;
    let closes = |(_, letter): &(usize, char)| {
        match letter {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    };
    text.char_indices().find(closes).map_or(text.len(), |(at, _)| at)
}

fn known_sum(of: &str) -> String {
    let (column, condition) = of.split_once(" WHERE ").map_or((of, None), |(column, when)| (column, Some(when)));
    let table = column.rsplit_once('.').map_or_else(String::new, |(table, _)| format!("{table}."));
    let filter = condition.map_or_else(String::new, |when| format!(" FILTER (WHERE {when})"));
    let and = condition.map_or_else(String::new, |when| format!("({when}) AND "));
    let stands = |known: &str| format!("sum({table}quantity) FILTER (WHERE {and}{column} {known})");
    format!(
        "CASE WHEN sum({column}){filter} = 0 AND {} = 0 AND {} <> 0 THEN NULL ELSE sum({column}){filter} END",
        stands("IS NOT NULL"),
        stands("IS NULL")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_what_is_known_are_written_out_wherever_they_stand() {
        let check = |text: &str, wanted: &str| assert_eq!(known_sums(text), wanted);
        check("SELECT sum(cost_usd) FROM charges", "SELECT sum(cost_usd) FROM charges");
        check(
            "SELECT CAST(known_sum(cost_usd) AS DOUBLE) FROM charges",
            "SELECT CAST(CASE WHEN sum(cost_usd) = 0 AND sum(quantity) FILTER (WHERE cost_usd IS NOT NULL) = 0 \
             AND sum(quantity) FILTER (WHERE cost_usd IS NULL) <> 0 THEN NULL ELSE sum(cost_usd) END AS DOUBLE) FROM charges",
        );
        check(
            "0 - known_sum(c.cost_usd WHERE tag(tags, 'a') IS NULL) AS usd",
            "0 - CASE WHEN sum(c.cost_usd) FILTER (WHERE tag(tags, 'a') IS NULL) = 0 \
             AND sum(c.quantity) FILTER (WHERE (tag(tags, 'a') IS NULL) AND c.cost_usd IS NOT NULL) = 0 \
             AND sum(c.quantity) FILTER (WHERE (tag(tags, 'a') IS NULL) AND c.cost_usd IS NULL) <> 0 \
             THEN NULL ELSE sum(c.cost_usd) FILTER (WHERE tag(tags, 'a') IS NULL) END AS usd",
        );
    }
}
