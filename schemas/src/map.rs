//! The map of the hot path.
//!
//! Seeded, so that nobody who chooses names can choose where they fall; several times cheaper than the standard one for the short
//! keys that a call is looked up by. Its order means nothing.

/// A map for what is looked up with every call.
pub type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
