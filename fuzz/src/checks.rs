//! Questions of other proxies, in JSON and as Envoy asks them: what is taken is bounded, and is the same read twice.
//!
//! The first byte of the input says which form the rest has.

use gateway::fuzz::question;

/// Reads the input as a question.
pub fn check(input: &[u8]) {
    let Some((texts, used)) = question(input) else { return };
    for text in &texts {
        assert!(text.len() <= 256 && !text.chars().any(char::is_control), "{text:?} is kept");
    }
    if let Some(used) = used {
        assert!(used.reasoning <= used.output, "{used:?}");
        // Eight classes of the largest count.
        assert!(used.total() <= 8 << 50, "{used:?}");
    }
    assert_eq!(question(input), Some((texts, used)));
}
