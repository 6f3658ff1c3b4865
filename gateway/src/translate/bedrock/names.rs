//! Names of documents as Bedrock takes them: some characters, at most 200 of them, and no name twice in a conversation.
//!
//! A name depends only on the documents before it, so it stays the same when a conversation goes on, and with it what is cached.

use std::collections::BTreeMap;

/// The most characters of a name.
const MAX: usize = 200;

/// The names that were given out.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Each name without regard to case, and the number that the next one like it begins to look at.
    taken: BTreeMap<String, usize>,
}

impl Names {
    /// A name for a document, near to the one that it has.
    pub(crate) fn name(&mut self, wanted: Option<&str>) -> String {
        let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '(' | ')' | '[' | ']');
        let mut stem: String =
            wanted.unwrap_or_default().chars().map(|char| if plain(char) { char } else { '-' }).collect();
        if stem.is_empty() {
            "file".clone_into(&mut stem);
        }
        stem.truncate(MAX);
        let mut next = self.taken.get(&stem.to_ascii_lowercase()).copied().unwrap_or(1);
        // Every turn of it passes a name that was given out, so it ends; numbers only go up, so that no two go the same way again.
        let name = loop {
            let name = if next == 1 { stem.clone() } else { numbered(&stem, next) };
            next += 1;
            if !self.taken.contains_key(&name.to_ascii_lowercase()) {
                break name;
            }
        };
        self.taken.entry(name.to_ascii_lowercase()).or_insert(2);
        self.taken.insert(stem.to_ascii_lowercase(), next);
        name
    }
}

fn numbered(stem: &str, number: usize) -> String {
    let end = format!("-{number}");
    // The stem is ASCII.
    let stem = stem.get(..MAX - end.len()).unwrap_or(stem);
    format!("{stem}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice_and_each_is_one_that_bedrock_takes() {
        let mut names = Names::default();
        let long = "é".repeat(300);
        let wanted = [
            None,
            None,
            Some("a.pdf"),
            Some("A.PDF"),
            Some("a-pdf-2"),
            Some("a pdf"),
            Some(""),
            Some(&*long),
            Some(&*long),
        ];
        let given: Vec<String> = wanted.into_iter().map(|wanted| names.name(wanted)).collect();
        assert_eq!(given[..7], ["file", "file-2", "a-pdf", "A-PDF-2", "a-pdf-2-2", "a-pdf-3", "file-3"]);
        assert_eq!((given[7].len(), given[8].len()), (MAX, MAX));
        let mut folded: Vec<String> = given.iter().map(|name| name.to_lowercase()).collect();
        folded.sort();
        folded.dedup();
        assert_eq!(folded.len(), given.len());
    }

    #[test]
    fn many_documents_of_one_name_take_no_time() {
        let mut names = Names::default();
        assert_eq!((0..100_000).map(|_| names.name(None)).last().as_deref(), Some("file-100000"));
    }
}
