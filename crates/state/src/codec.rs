//! The binary codec of operations and commands: explicit bytes, a version in front, no panic on any input.
//!
//! Numbers are LEB128 varints (signed ones in zigzag), byte strings and lists stand behind their length.
//! Decoded byte strings share the input's memory. What is decoded never takes more memory than a small
//! multiple of the input.

use bytes::Bytes;

/// Bytes that do not follow the codec, or are of a newer version than this build reads. In a committed
/// entry it stops the node; from a client or a peer it is an error of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {offset}")]
pub struct Malformed {
    /// What was expected there.
    pub what: &'static str,
    /// Where it was expected.
    pub offset: usize,
}

/// The deepest nesting of lists in one operation or reply that is decoded.
pub(crate) const DEPTH_MAX: u8 = 4;

/// Lists are given room for at most this many items before any of them is decoded.
const RESERVED_ITEMS_MAX: usize = 256;

/// Something with an explicit binary form.
pub(crate) trait Wire: Sized {
    /// The version that begins a list of these.
    const VERSION: u8;
    /// Appends the form to `out`.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it back; `depth` counts the lists around it.
    fn take(input: &mut Decoder, depth: u8) -> Result<Self, Malformed>;
    /// About how many bytes [`Wire::put`] appends.
    fn size_hint(&self) -> usize;
}

/// A version byte, the number of items, the items.
pub(crate) fn encode_all<T: Wire>(items: &[T]) -> Bytes {
    let mut out = Vec::with_capacity(8 + items.iter().map(T::size_hint).sum::<usize>());
    out.push(T::VERSION);
    put_all(&mut out, items);
    Bytes::from(out)
}

/// The inverse of [`encode_all`]; nothing may follow the last item.
pub(crate) fn decode_all<T: Wire>(bytes: Bytes) -> Result<Vec<T>, Malformed> {
    let mut input = Decoder::new(bytes);
    input.version(T::VERSION)?;
    let items = input.list(0)?;
    input.end()?;
    Ok(items)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_optional(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            put_bytes(out, bytes);
        }
    }
}

pub(crate) fn put_byte_strings(out: &mut Vec<u8>, strings: &[Bytes]) {
    put_varint(out, strings.len() as u64);
    strings.iter().for_each(|bytes| put_bytes(out, bytes));
}

pub(crate) fn put_all<T: Wire>(out: &mut Vec<u8>, items: &[T]) {
    put_varint(out, items.len() as u64);
    items.iter().for_each(|item| item.put(out));
}

/// Reads what the `put_*` functions wrote, front to back.
pub(crate) struct Decoder {
    bytes: Bytes,
    offset: usize,
}

impl Decoder {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Decoder { bytes, offset: 0 }
    }

    /// The error that `what` is not here.
    pub(crate) fn expected(&self, what: &'static str) -> Malformed {
        Malformed { what, offset: self.offset }
    }

    pub(crate) fn version(&mut self, version: u8) -> Result<(), Malformed> {
        let error = self.expected("version");
        if self.byte()? == version { Ok(()) } else { Err(error) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.offset).ok_or_else(|| self.expected("byte"))?;
        self.offset += 1;
        Ok(byte)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        let error = self.expected("flag");
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(error),
        }
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let error = self.expected("number");
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(error);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(error)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn small(&mut self) -> Result<u32, Malformed> {
        let error = self.expected("number of 32 bits");
        u32::try_from(self.varint()?).map_err(|_| error)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let error = self.expected("byte string");
        let length = usize::try_from(self.varint()?).map_err(|_| error)?;
        let end = self.offset.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(error)?;
        let bytes = self.bytes.slice(self.offset..end);
        self.offset = end;
        Ok(bytes)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<Bytes>, Malformed> {
        if self.flag()? { self.bytes().map(Some) } else { Ok(None) }
    }

    pub(crate) fn byte_strings(&mut self) -> Result<Vec<Bytes>, Malformed> {
        self.items(Decoder::bytes)
    }

    pub(crate) fn list<T: Wire>(&mut self, depth: u8) -> Result<Vec<T>, Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.expected("end of nesting"));
        }
        self.items(|input| T::take(input, depth + 1))
    }

    /// A count, and as many of what `take` reads; each takes at least one byte of input.
    pub(crate) fn items<T>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let error = self.expected("count");
        let count = usize::try_from(self.varint()?).map_err(|_| error)?;
        if count > self.bytes.len() - self.offset {
            return Err(error);
        }
        let mut items = Vec::with_capacity(count.min(RESERVED_ITEMS_MAX));
        for _ in 0..count {
            items.push(take(self)?);
        }
        Ok(items)
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.offset == self.bytes.len() { Ok(()) } else { Err(self.expected("end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_edges_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Decoder::new(out.into()).varint(), Ok(value));
        }
        for value in [0, -1, 1, 63, -64, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(Decoder::new(out.into()).signed(), Ok(value));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_malformed() {
        let eleven = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        assert!(Decoder::new(Bytes::copy_from_slice(&eleven)).varint().is_err());
        assert!(Decoder::new(Bytes::from_static(&[0x80; 20])).varint().is_err());
    }

    #[test]
    fn a_length_beyond_the_input_is_malformed() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        out.push(1);
        let bytes = Bytes::from(out);
        assert!(Decoder::new(bytes.clone()).bytes().is_err());
        assert!(Decoder::new(bytes).byte_strings().is_err());
    }
}
