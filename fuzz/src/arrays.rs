//! Arrays that come for parameters of the Postgres protocol: what is read is what was written, no more of it is kept than came, and what is
//! put into a statement for an element is one constant.

use query::{postgres_array, sql::array_elements};

/// What arrays are of, by number: truth, integers, text, times, decimals and floats.
const OF: [u32; 11] = [1_000, 1_005, 1_007, 1_016, 1_009, 1_182, 1_115, 1_185, 1_231, 1_021, 1_022];

/// Reads an array, in text and in binary, of what the first byte says.
pub fn check(input: &[u8]) {
    let Some((which, value)) = input.split_first() else { return };
    if let Some(elements) = std::str::from_utf8(value).ok().and_then(array_elements) {
        assert!(elements.iter().flatten().map(String::len).sum::<usize>() <= value.len());
        assert_eq!(array_elements(&written(&elements)), Some(elements));
    }
    let of = OF[usize::from(*which) % OF.len()];
    for binary in [false, true] {
        for constant in postgres_array(of, binary, value).unwrap_or_default() {
            assert!(is_one(&constant), "{constant}");
        }
    }
}

/// The array as Postgres writes it, with quotes around each element.
fn written(elements: &[Option<String>]) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let all: Vec<String> =
        elements.iter().map(|element| element.as_ref().map_or_else(|| "NULL".to_owned(), quoted)).collect();
    format!("{{{}}}", all.join(","))
}

/// Whether it is a constant of SQL and nothing else.
fn is_one(constant: &str) -> bool {
    let inside = constant.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inside {
        Some(text) => !text.replace("''", "").contains('\''),
        None => {
            matches!(constant, "NULL" | "TRUE" | "FALSE")
                || constant.bytes().any(|byte| byte.is_ascii_digit())
                    && constant.bytes().enumerate().all(|(at, byte)| match byte {
                        b'-' => at == 0,
                        byte => byte.is_ascii_digit() || byte == b'.',
                    })
        }
    }
}
