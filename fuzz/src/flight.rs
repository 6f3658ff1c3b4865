//! Commands of Flight SQL: whatever bytes come, they are read or refused, and a statement is the same statement by its ticket.

use query::flight_understood;

/// Reads a command, as it stands in descriptors and tickets.
pub fn check(input: &[u8]) {
    assert_ne!(flight_understood(input), Ok(false), "a ticket is another question");
}
