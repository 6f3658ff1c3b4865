//! Bounds by table.
