//! Makes the `:authority` of an HPACK block acceptable to h2, without changing any length.
//!
//! gRPC C-core sends the percent-encoded socket path as `:authority`, others send the raw path; both
//! are no URI authority and h2 would reset the stream (hyperium/h2#442, h2#487). Nobody reads the
//! value, so it is overwritten in place. Refuses to know frames, and keeps no dynamic table: a value
//! is replaced where it is spelled out, and later references to it find the replacement.
//!
//! The replacement is never longer than the original, so the decoder's table never evicts an entry
//! that the peer still counts on (an encoder uses Huffman coding only where it shortens). It is always
//! Huffman-coded: h2 decodes such a value into a buffer of its own, but keeps a raw one as a slice of
//! the buffer that it read it into, 8 KiB for as long as the connection lasts.

use std::ops::Range;

/// Static table index of `:authority` (RFC 7541 appendix A).
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// `X` in Huffman coding: the one letter of a host name beside `Z` whose code is an octet (RFC 7541
/// appendix B).
const LETTER: u8 = 0xfc;
/// Marks a string as Huffman-coded, in its first length octet.
const HUFFMAN: u8 = 0x80;

/// `accept-charset: ` from the static table (index 15): one octet that means nothing to a server and
/// leaves the dynamic table alone.
const NOTHING: u8 = 0x80 | 15;

/// Makes the `:authority` in `block` one that h2 takes. A second one is h2's to refuse, and so is a
/// block that is cut off or wrong.
pub(super) fn neutralise_authority(block: &mut [u8]) {
    let mut at = 0;
    while let Some(field) = Field::read(block, at) {
        if let Some(literal) = field.literal.filter(|literal| literal.is_authority(block)) {
            return literal.neutralise(block, at..field.end);
        }
        at = field.end;
    }
}

/// One header field representation (RFC 7541 §6).
struct Field {
    literal: Option<Literal>,
    end: usize,
}

/// A field whose value, and maybe name, is spelled out.
struct Literal {
    indexing: Indexing,
    name: Name,
    value: Text,
}

enum Indexing {
    Incremental,
    None,
}

enum Name {
    Index(usize),
    Text(Text),
}

/// A string literal (RFC 7541 §5.2): its first length octet, and its octets.
struct Text {
    length_at: usize,
    octets: Range<usize>,
}

impl Field {
    /// The field that starts at `at`; `None` at the end of the block and where it is cut off.
    fn read(block: &[u8], at: usize) -> Option<Self> {
        let (indexing, prefix_bits) = match *block.get(at)? {
            0x80.. => return Self::without_literal(block, at, 7),
            0x40.. => (Indexing::Incremental, 6),
            0x20.. => return Self::without_literal(block, at, 5),
            _ => (Indexing::None, 4),
        };
        let (index, mut next) = integer(block, at, prefix_bits)?;
        let name = if index == 0 {
            let text = Text::read(block, next)?;
            next = text.octets.end;
            Name::Text(text)
        } else {
            Name::Index(index)
        };
        let value = Text::read(block, next)?;
        let end = value.octets.end;
        Some(Self { literal: Some(Literal { indexing, name, value }), end })
    }

    /// An indexed field or a table size update: one integer.
    fn without_literal(block: &[u8], at: usize, prefix_bits: u32) -> Option<Self> {
        integer(block, at, prefix_bits).map(|(_, end)| Self { literal: None, end })
    }
}

impl Literal {
    /// `field` is where this literal stands in `block`.
    fn neutralise(&self, block: &mut [u8], field: Range<usize>) {
        match self.indexing {
            _ if !self.value.octets.is_empty() => self.value.make_host(block),
            Indexing::None => erase(block, field),
            // The table must get an entry, and for one with a value there is no octet left. RFC 9113
            // §8.3.1 forbids clients an empty authority in any form.
            Indexing::Incremental => {}
        }
    }

    fn is_authority(&self, block: &[u8]) -> bool {
        match &self.name {
            Name::Index(index) => *index == AUTHORITY_INDEX,
            Name::Text(name) => {
                let spelled = block.get(name.octets.clone());
                let wanted = if name.is_huffman(block) { AUTHORITY_HUFFMAN } else { AUTHORITY };
                spelled == Some(wanted)
            }
        }
    }
}

impl Text {
    fn read(block: &[u8], at: usize) -> Option<Self> {
        let (length, start) = integer(block, at, 7)?;
        let end = start.checked_add(length).filter(|end| *end <= block.len())?;
        Some(Self { length_at: at, octets: start..end })
    }

    /// Overwrites the text with a host name of the same length.
    fn make_host(&self, block: &mut [u8]) {
        let Some(text) = block.get_mut(self.octets.clone()) else { return };
        text.fill(LETTER);
        if let Some(length) = block.get_mut(self.length_at) {
            *length |= HUFFMAN;
        }
    }

    fn is_huffman(&self, block: &[u8]) -> bool {
        block.get(self.length_at).is_some_and(|octet| octet & HUFFMAN != 0)
    }
}

/// Takes a field out. What follows moves up, for a field that means nothing may stand only behind all
/// pseudo-header fields (RFC 9113 §8.3).
fn erase(block: &mut [u8], field: Range<usize>) {
    let length = field.len();
    let Some(rest) = block.get_mut(field.start..) else { return };
    rest.rotate_left(length);
    let kept = rest.len() - length;
    rest.iter_mut().skip(kept).for_each(|octet| *octet = NOTHING);
}

/// An integer whose first octet has `prefix_bits` bits for it (RFC 7541 §5.1), and where it ends.
fn integer(block: &[u8], at: usize, prefix_bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << prefix_bits) - 1;
    let prefix = usize::from(*block.get(at)?) & mask;
    if prefix < mask {
        return Some((prefix, at + 1));
    }
    let mut value = mask;
    // Four octets more reach past any frame; h2 refuses longer spellings too.
    for (position, octet) in block.iter().enumerate().skip(at + 1).take(4) {
        value += usize::from(octet & 0x7f) << (7 * (position - at - 1));
        if octet & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests;
