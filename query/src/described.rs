//! SQL that says in its own head what it answers: the form of every file in `views` and `reports`.
//!
//! A file begins with comments: what it answers, which of the questions of finance teams it is (`questions:`), its parameters
//! (`param NAME (KIND) = DEFAULT: meaning`), its columns (`column NAME [UNIT]: meaning`), and what to draw (`chart:`). The rest is one
//! query. Whoever lists views or reports, or documents columns, reads it from there, so that it stands in one place.

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
        found.sql = rest.trim();
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
