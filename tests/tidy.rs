//! The house rules as a test: what CONTRIBUTING.md asks of the source, checked line by line.
//!
//! Each rule is one function that gives its offences as `file:line: what`; the test prints all of them at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    path::{Path, PathBuf},
};

#[path = "tidy/schedules.rs"]
mod schedules;

/// The most lines in a file and in a function.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Rooms whose files do no I/O, read no clock and draw no lots; the exceptions are named after the outside.
const PURE: &[(&str, &[&str])] = &[
    ("schemas/src", &["time.rs", "id.rs"]),
    ("metering/src", &["run.rs"]),
    ("gateway/src/meter", &[]),
    ("gateway/src/request", &[]),
    ("gateway/src/translate", &[]),
];

/// What a pure file does not mention.
const OUTSIDE: &[&str] =
    &["tokio::", "axum::", "rdkafka", "std::fs", "std::net", "SystemTime", "Instant::now", "rand::", "std::env"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_test(&self) -> bool {
        let name = self.name();
        name.contains("tests")
            || name.contains("benches")
            || name.ends_with("conformance.rs")
            || name.contains("conformance/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for room in ["src", "schemas", "journal", "listen", "gateway", "metering", "query", "tests", "fuzz"] {
        collect(&root().join(room), &mut found);
    }
    assert!(found.len() > 50, "the source was not found");
    found
}

fn collect(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { path: path.strip_prefix(root()).unwrap().to_owned(), text });
        }
    }
}

fn check(rule: &str, offences: impl Fn(&Source) -> Vec<String>) {
    let all: Vec<String> = sources().iter().flat_map(offences).collect();
    assert!(all.is_empty(), "{rule}:\n  {}", all.join("\n  "));
}

/// The lines that contain a word, outside comments.
fn mentions(source: &Source, word: &str) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(|(_, line)| line.contains(word))
        .map(|(at, _)| format!("{}:{}: {word}", source.name(), at + 1))
        .collect()
}

#[test]
fn every_file_says_what_it_is() {
    check("a file opens with //!", |source| {
        if source.text.starts_with("//! ") || source.name().ends_with("tests.rs") && source.text.starts_with("//!") {
            return Vec::new();
        }
        // A test module beside its file is told by the file.
        if source.is_test() && source.path.file_name().is_some_and(|name| name == "tests.rs") {
            Vec::new()
        } else {
            vec![source.name()]
        }
    });
}

#[test]
fn files_and_functions_are_short() {
    check(&format!("a file has at most {FILE_LINES} lines"), |source| {
        let lines = source.text.lines().count();
        if lines > FILE_LINES && !source.is_test() {
            vec![format!("{}: {lines} lines", source.name())]
        } else {
            Vec::new()
        }
    });
    check(&format!("a function has at most {FUNCTION_LINES} lines"), |source| {
        if source.is_test() {
            return Vec::new();
        }
        let lines: Vec<&str> = source.text.lines().collect();
        let starts = lines.iter().enumerate().filter(|(_, line)| is_function(line));
        starts
            .filter_map(|(at, line)| {
                let signature = lines[at..]
                    .iter()
                    .find(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'))?;
                if !signature.ends_with('{') {
                    return None;
                }
                let indent = line.len() - line.trim_start().len();
                let end = lines[at..].iter().position(|line| *line == format!("{}}}", " ".repeat(indent)))?;
                let length = end + 1;
                (length > FUNCTION_LINES).then(|| format!("{}:{}: {length} lines", source.name(), at + 1))
            })
            .collect()
    });
}

fn is_function(line: &str) -> bool {
    let code = line.trim_start();
    let code = ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "]
        .iter()
        .fold(code, |code, word| code.strip_prefix(word).unwrap_or(code));
    code.starts_with("fn ")
}

#[test]
fn modules_are_files_of_their_own_name() {
    check(
        "there is no mod.rs",
        |source| {
            if source.path.ends_with("mod.rs") { vec![source.name()] } else { Vec::new() }
        },
    );
}

#[test]
fn exceptions_say_why_and_nothing_is_left_for_later() {
    for word in [
        concat!("#[", "allow("),
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("un", "implemented!"),
    ] {
        check(&format!("no {word}"), |source| mentions(source, word));
    }
}

#[test]
fn roles_do_not_know_each_other() {
    let roles = ["gateway", "metering", "query"];
    for role in roles {
        let manifest = fs::read_to_string(root().join(role).join("Cargo.toml")).unwrap();
        for other in roles.iter().filter(|other| **other != role) {
            assert!(!manifest.lines().any(|line| line.starts_with(*other)), "{role} depends on {other}");
        }
    }
    for (below, above) in
        [("schemas", "journal"), ("journal", "gateway"), ("journal", "metering"), ("journal", "query")]
    {
        let manifest = fs::read_to_string(root().join(below).join("Cargo.toml")).unwrap();
        assert!(!manifest.lines().any(|line| line.starts_with(above)), "{below} depends on {above}");
    }
}

#[test]
fn versions_stand_in_one_place() {
    for room in ["schemas", "journal", "listen", "gateway", "metering", "query"] {
        let manifest = fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        let loose = manifest.lines().filter(|line| line.contains("version = \"") || line.contains("= \"1"));
        let loose: Vec<&str> = loose.collect();
        assert!(loose.is_empty(), "{room}/Cargo.toml names versions: {loose:?}");
    }
}

#[test]
fn the_domain_does_no_io_and_reads_no_clock() {
    check("a file named after the domain stays pure", |source| {
        let name = source.name();
        let room = PURE.iter().find(|(room, _)| name.starts_with(room));
        let Some((_, exceptions)) = room.filter(|_| !source.is_test()) else { return Vec::new() };
        let named = source.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if exceptions.contains(&named) {
            return Vec::new();
        }
        OUTSIDE.iter().flat_map(|word| mentions(source, word)).collect()
    });
}

#[test]
fn one_place_reads_the_wall_clock() {
    check("only schemas::time reads the wall clock", |source| {
        if source.path.ends_with("schemas/src/time.rs") || source.path.ends_with("tests/tidy.rs") {
            return Vec::new();
        }
        mentions(source, "SystemTime::now")
    });
}

#[test]
fn money_and_tokens_are_integers() {
    check("no floating point where money or tokens are counted", |source| {
        let name = source.name();
        // A request's JSON may write a count as 64.0; it is made an integer, or refused, where it is read.
        let edge = name == "schemas/src/bound/json.rs";
        if edge || !(name.starts_with("schemas/src") || name.starts_with("metering/src")) || source.is_test() {
            return Vec::new();
        }
        ["f32", "f64"].iter().flat_map(|word| mentions(source, word)).collect()
    });
}
