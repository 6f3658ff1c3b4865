//! How many bytes a tokenizer can see of a text.
//!
//! Every known tokenizer falls back to bytes, so a text is never more tokens than bytes *of what the tokenizer sees*. One that is
//! not published may normalise first (NFKC makes 33 bytes of the 3 of U+FDFA), so what can grow is counted as grown.

/// The characters that NFKC makes longer in UTF-8, and the most bytes it makes of one of them (Unicode 14; near ranges merged).
const GROWING: [(u32, u32, u64); 40] = [
    (0xa8, 0xbe, 5),
    (0x13f, 0x149, 3),
    (0x1c4, 0x1c6, 3),
    (0x2d8, 0x2dd, 3),
    (0x344, 0x344, 4),
    (0x37a, 0x385, 5),
    (0x587, 0x587, 4),
    (0x675, 0x678, 4),
    (0x958, 0x95f, 6),
    (0x9dc, 0x9df, 6),
    (0xa33, 0xa5e, 6),
    (0xb5c, 0xb5d, 6),
    (0xe33, 0xe33, 6),
    (0xeb3, 0xeb3, 6),
    (0xedc, 0xedd, 6),
    (0xf43, 0xfb9, 9),
    (0x1fc1, 0x1fee, 5),
    (0x2033, 0x2037, 9),
    (0x2057, 0x2057, 12),
    (0x2150, 0x2189, 6),
    (0x222c, 0x2230, 9),
    (0x247d, 0x2487, 4),
    (0x2a0c, 0x2a0c, 12),
    (0x2adc, 0x2adc, 5),
    (0x309b, 0x309f, 6),
    (0x30ff, 0x30ff, 6),
    (0x3200, 0x327d, 8),
    (0x32c0, 0x32cb, 5),
    (0x32ff, 0x3389, 18),
    (0x33a7, 0x33fe, 8),
    (0xfa6c, 0xfa6c, 4),
    (0xfacf, 0xfad7, 4),
    (0xfb13, 0xfb4f, 6),
    (0xfbdd, 0xfdc7, 6),
    (0xfdf0, 0xfdfc, 33),
    (0xfe71, 0xfefc, 4),
    (0x1d15e, 0x1d164, 12),
    (0x1d1bb, 0x1d1c0, 12),
    (0x1f12a, 0x1f201, 7),
    (0x1f240, 0x1f248, 9),
];

/// The most bytes that any tokenizer sees of `text`, and so the most tokens that it makes of it.
pub fn most_seen(text: &str) -> u64 {
    (text.len() as u64).saturating_add(growth(text))
}

/// The bytes that normalisation can add to `text`.
pub(super) fn growth(text: &str) -> u64 {
    if text.is_ascii() {
        return 0;
    }
    text.chars().filter(|c| !c.is_ascii()).map(added).sum()
}

fn added(c: char) -> u64 {
    let code = c as u32;
    let place = GROWING.partition_point(|(_, last, _)| *last < code);
    match GROWING.get(place) {
        Some((first, _, most)) if *first <= code => most.saturating_sub(c.len_utf8() as u64),
        _ => 0,
    }
}
