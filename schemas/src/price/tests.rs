//! The book, its lookups and the rating function, by table.
