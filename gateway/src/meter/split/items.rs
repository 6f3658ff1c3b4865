//! A list of documents in one: where its items end, and where it does. So Gemini streams to whoever does not ask for events.

use memchr::memchr2;

/// Where the items of a list end, across chunks.
#[derive(Debug)]
pub(super) struct Items {
    /// How many lists and objects are open.
    depth: u32,
    in_text: bool,
    escaped: bool,
}

/// What a frame of a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'f> {
    /// A document, as far as it goes.
    Document(&'f [u8]),
    /// What ends the list.
    End,
}

impl Items {
    pub(super) const START: Self = Self { depth: 0, in_text: false, escaped: false };

    /// The end of the item that goes on at `from`, or of the list; nothing if it is not in this chunk.
    pub(super) fn frame_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(byte) = chunk.get(at) {
            if std::mem::take(&mut self.escaped) {
                at += 1;
                continue;
            }
            if self.in_text {
                at += memchr2(b'"', b'\\', chunk.get(at..)?)?;
                self.escaped = chunk.get(at) == Some(&b'\\');
                self.in_text = self.escaped;
                at += 1;
                continue;
            }
            at += 1;
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth <= 1 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// What a frame is, without what stands between it and the one before.
pub(super) fn item(frame: &[u8]) -> Item<'_> {
    let frame = frame.trim_ascii();
    let item = frame.strip_prefix(b"[").or_else(|| frame.strip_prefix(b",")).unwrap_or(frame).trim_ascii_start();
    if item == b"]" { Item::End } else { Item::Document(item) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_its_items_do_in_whatever_pieces_it_comes() {
        let list = br#" [{"a":"]}\"\\"},
 {"b":[{"c":{}}]} , [1,[2]]
] "#;
        let wanted = [r#"{"a":"]}\"\\"}"#, r#"{"b":[{"c":{}}]}"#, "[1,[2]]"];
        let wanted: Vec<_> = wanted.iter().map(|item| Item::Document(item.as_bytes())).chain([Item::End]).collect();
        for size in 1..=list.len() {
            let (mut items, mut ends, mut before) = (Items::START, vec![0], 0);
            for chunk in list.chunks(size) {
                let mut from = 0;
                while let Some(end) = items.frame_end(chunk, from) {
                    ends.push(before + end);
                    from = end;
                }
                before += chunk.len();
            }
            let found: Vec<_> = ends.windows(2).map(|pair| item(&list[pair[0]..pair[1]])).collect();
            assert_eq!(found, wanted, "in pieces of {size}");
        }
        assert_eq!((item(b"[]"), item(b" ,")), (Item::End, Item::Document(b"")));
    }
}
