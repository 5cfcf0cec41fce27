//! Fields one after the other, each behind its length: the plainest form in which bytes can be kept
//! without being made text. Knows nothing of what they mean.

use zeroize::Zeroizing;

/// Bytes that are no parcel, or not the one that its reader expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fields are not those that were expected")]
pub struct Unexpected;

/// Puts fields together: hands on each piece of what they become.
pub(super) struct Packer<'a>(&'a mut dyn FnMut(&[u8]));

/// Takes fields out again, in the order in which they were put in.
pub(super) struct Unpacker<'a>(&'a [u8]);

/// A number, and the length of a field.
const NUMBER_BYTES: usize = size_of::<i64>();

/// What `fill` puts together, behind `head_bytes` zeros that are the caller's to fill. It is asked twice,
/// first for the size: what is in a parcel may be secret, and growing would leave an unwiped copy behind.
pub(super) fn pack(head_bytes: usize, fill: impl Fn(&mut Packer<'_>)) -> Zeroizing<Vec<u8>> {
    let mut size = head_bytes;
    fill(&mut Packer(&mut |piece| size += piece.len()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.resize(head_bytes, 0);
    fill(&mut Packer(&mut |piece| bytes.extend_from_slice(piece)));
    bytes
}

impl Packer<'_> {
    /// Puts in a number.
    pub(super) fn number(&mut self, number: i64) {
        (self.0)(&number.to_be_bytes());
    }

    /// Puts in how many of something follow.
    pub(super) fn count(&mut self, count: usize) {
        // Nothing in memory is longer than an i64 can say.
        self.number(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Puts in bytes.
    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        (self.0)(bytes);
    }
}

impl<'a> Unpacker<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes out a number.
    pub(super) fn number(&mut self) -> Result<i64, Unexpected> {
        let (number, rest) = self.0.split_first_chunk::<NUMBER_BYTES>().ok_or(Unexpected)?;
        self.0 = rest;
        Ok(i64::from_be_bytes(*number))
    }

    /// Takes out how many of something follow. No more than what is left could hold: each has a length.
    pub(super) fn count(&mut self) -> Result<usize, Unexpected> {
        let count = usize::try_from(self.number()?).map_err(|_| Unexpected)?;
        if count <= self.0.len() / NUMBER_BYTES { Ok(count) } else { Err(Unexpected) }
    }

    /// Takes out bytes.
    pub(super) fn field(&mut self) -> Result<&'a [u8], Unexpected> {
        let length = usize::try_from(self.number()?).map_err(|_| Unexpected)?;
        let (field, rest) = self.0.split_at_checked(length).ok_or(Unexpected)?;
        self.0 = rest;
        Ok(field)
    }

    /// Takes out a text.
    pub(super) fn text(&mut self) -> Result<&'a str, Unexpected> {
        str::from_utf8(self.field()?).map_err(|_| Unexpected)
    }

    /// Checks that nothing is left.
    pub(super) const fn finish(self) -> Result<(), Unexpected> {
        if self.0.is_empty() { Ok(()) } else { Err(Unexpected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel() -> Zeroizing<Vec<u8>> {
        pack(3, |packer| {
            packer.number(-7);
            packer.count(2);
            packer.field(b"one");
            packer.field(b"");
        })
    }

    #[test]
    fn what_was_packed_comes_out_in_order_and_then_nothing() {
        let bytes = parcel();
        assert_eq!(bytes.capacity(), bytes.len(), "room for it all, and no more");
        let mut unpacker = Unpacker::new(&bytes[3..]);
        assert_eq!((unpacker.number(), unpacker.count()), (Ok(-7), Ok(2)));
        assert_eq!((unpacker.text(), unpacker.field()), (Ok("one"), Ok(&b""[..])));
        assert_eq!(unpacker.field(), Err(Unexpected));
        assert_eq!(unpacker.finish(), Ok(()));
    }

    #[test]
    fn lengths_and_counts_beyond_the_end_are_refused() {
        let bytes = pack(0, |packer| packer.number(9));
        assert_eq!(Unpacker::new(&bytes).field(), Err(Unexpected));
        assert_eq!(Unpacker::new(&bytes).count(), Err(Unexpected));
        let bytes = pack(0, |packer| packer.number(-1));
        assert_eq!(Unpacker::new(&bytes).field(), Err(Unexpected));
        assert_eq!(Unpacker::new(&bytes).finish(), Err(Unexpected));
    }
}
