//! The prices that past attempts are rated by again: those of a file, on top of the book that each was rated by.
//!
//! So a file says what is to be other, and what it does not name stays to the unit what it was, whatever prices were in force since.

use std::collections::HashMap;

use schemas::{
    id::BookHash,
    price::{Book, PriceFile},
};

/// What takes the place of each book.
#[derive(Debug)]
pub struct Prices {
    /// A file, and by the hash of each book that one with the file on top.
    on_top: Option<(PriceFile, HashMap<BookHash, Book>)>,
    otherwise: Book,
}

impl Prices {
    /// Those of a file, on top of each book that is [known](Self::know), and of this one for what was rated by none.
    pub fn new(file: PriceFile, otherwise: &Book) -> Self {
        let otherwise = otherwise.repriced(&file);
        Self { on_top: Some((file, HashMap::new())), otherwise }
    }

    /// Those of one book, whatever an attempt was rated by.
    pub fn only(book: Book) -> Self {
        Self { on_top: None, otherwise: book }
    }

    /// Makes a book known that attempts may have been rated by. What is kept of it is about what the book itself takes, which everybody
    /// keeps who follows the policy.
    pub fn know(&mut self, book: &Book) {
        if let Some((file, known)) = &mut self.on_top {
            known.entry(book.hash()).or_insert_with(|| book.repriced(file));
        }
    }

    /// The book that takes the place of one; nothing if that is not known, since nobody can say then what it has besides.
    pub(super) fn in_place_of(&self, book: BookHash) -> Option<&Book> {
        match &self.on_top {
            Some((_, known)) if book != BookHash::NONE => known.get(&book),
            _ => Some(&self.otherwise),
        }
    }
}
