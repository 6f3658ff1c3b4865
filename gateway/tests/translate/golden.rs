//! Golden matrices: one request × every provider, one answer × every client, as files that are read when they change.
//!
//! `TOLLGATE_GOLDEN=write cargo test -p gateway --test translate golden` writes them anew; then `git diff` is the review.
