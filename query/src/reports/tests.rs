//! Each report on data whose answer is known by construction.
