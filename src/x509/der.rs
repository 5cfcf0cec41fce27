//! Whether bytes are framed as DER (X.690 §10.1): every length definite and as short as it can be.
//!
//! Parsers of certificates accept more, and two readings of one message are how checks are bypassed.
//! Looks at tags and lengths only; what stands in them is the parser's.

/// Deeper than any request nests; bounds the recursion.
const MAX_DEPTH: usize = 16;

const CONSTRUCTED: u8 = 0x20;
const LONG_TAG: u8 = 0x1f;
const LONG_LENGTH: u8 = 0x80;

/// Whether `bytes` are any number of elements, each framed as DER to the innermost.
#[must_use]
pub(super) fn is_framed(bytes: &[u8]) -> bool {
    are_elements(bytes, MAX_DEPTH)
}

fn are_elements(mut bytes: &[u8], depth: usize) -> bool {
    while !bytes.is_empty() {
        let Some((tag, content, rest)) = split_element(bytes) else { return false };
        if tag & CONSTRUCTED != 0 && (depth == 0 || !are_elements(content, depth - 1)) {
            return false;
        }
        bytes = rest;
    }
    true
}

/// The first element's tag and content, and what follows it. No message here has tags above 30.
fn split_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    if tag & LONG_TAG == LONG_TAG {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    if *first < LONG_LENGTH {
        let (content, rest) = rest.split_at_checked(usize::from(*first))?;
        return Some((*tag, content, rest));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first - LONG_LENGTH))?;
    // No length bytes at all is the indefinite form; more than four exceed every limit.
    let is_shortest = match length {
        [single] => *single >= LONG_LENGTH,
        [first, ..] => *first != 0 && length.len() <= 4,
        [] => false,
    };
    if !is_shortest {
        return None;
    }
    let length = length.iter().fold(0, |sum: usize, byte| (sum << 8) | usize::from(*byte));
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_definite_and_shortest_lengths_are_der() {
        let long = |head: &[u8], length: usize| [head, &vec![0; length]].concat();
        for good in [
            vec![],
            vec![0x05, 0x00],
            vec![0x30, 0x03, 0x02, 0x01, 0x07],
            long(&[0x04, 0x81, 0x80], 128),
            long(&[0x04, 0x82, 0x01, 0x00], 256),
        ] {
            assert!(is_framed(&good), "{good:02x?}");
        }
        for bad in [
            vec![0x05],
            vec![0x05, 0x01],
            vec![0x30, 0x80, 0x05, 0x00, 0x00, 0x00],
            vec![0x04, 0x81, 0x01, 0x00],
            long(&[0x04, 0x82, 0x00, 0x80], 128),
            vec![0x30, 0x02, 0x02, 0x01],
            vec![0x1f, 0x21, 0x00],
            vec![0x04, 0x85, 1, 1, 1, 1, 1],
        ] {
            assert!(!is_framed(&bad), "{bad:02x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
                let length = u8::try_from(inner.len()).unwrap();
                [vec![0x30, length], inner].concat()
            })
        };
        assert!(is_framed(&nested(MAX_DEPTH)) && !is_framed(&nested(MAX_DEPTH + 2)));
    }
}
