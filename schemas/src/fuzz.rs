//! What the fuzz targets in `fuzz/` reach of this crate's insides. Only they turn the feature on; it is for nobody else.

use std::time::Duration;

use crate::config::unit;

/// Reads a time of a configuration.
pub fn duration(text: &str) -> Option<Duration> {
    unit::duration(text)
}

/// Reads a size of a configuration.
pub fn size(text: &str) -> Option<u64> {
    unit::size(text)
}
