//! The record of a user key: its expiry and its value.

use bytes::{BufMut, Bytes};

use crate::ids::Timestamp;

/// A string that lives for ever; the value follows.
const STRING: u8 = 1;
/// A string that expires; the moment (8 bytes, big endian) and the value follow.
const STRING_WITH_EXPIRY: u8 = 2;

/// What a user key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it expires: it is there before this moment, and due from it on.
    pub expires: Option<Timestamp>,
    /// The value.
    pub value: Bytes,
}

impl Record {
    /// Whether the record's time has come at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|moment| moment <= now)
    }

    /// The number of bytes that [`Record::write`] appends.
    pub fn size_bytes(&self) -> usize {
        1 + if self.expires.is_some() { 8 } else { 0 } + self.value.len()
    }

    /// Appends the persisted form to `out`.
    pub fn write(&self, out: &mut impl BufMut) {
        match self.expires {
            None => out.put_u8(STRING),
            Some(moment) => {
                out.put_u8(STRING_WITH_EXPIRY);
                out.put_u64(moment.0);
            }
        }
        out.put_slice(&self.value);
    }

    /// The inverse of [`Record::write`], sharing the memory of `bytes`; `None` for bytes that it never
    /// wrote.
    pub fn parse(bytes: &Bytes) -> Option<Record> {
        let (expires, start) = Self::head(bytes)?;
        Some(Record { expires, value: bytes.slice(start..) })
    }

    /// The expiry, and where the value begins.
    pub(crate) fn head(bytes: &[u8]) -> Option<(Option<Timestamp>, usize)> {
        match bytes.split_first()? {
            (&STRING, _) => Some((None, 1)),
            (&STRING_WITH_EXPIRY, rest) => {
                let moment = u64::from_be_bytes(*rest.first_chunk::<8>()?);
                Some((Some(Timestamp(moment)), 9))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_round_trip(expires: Option<u64>, value: Vec<u8>) {
            let record = Record { expires: expires.map(Timestamp), value: value.into() };
            let mut out = Vec::new();
            record.write(&mut out);
            prop_assert_eq!(out.len(), record.size_bytes());
            prop_assert_eq!(Record::parse(&out.into()), Some(record));
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let bytes = Bytes::from(bytes);
            if let Some(record) = Record::parse(&bytes) {
                let mut out = Vec::new();
                record.write(&mut out);
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
