//! Values that name their write: a short tag, repeated up to the size asked for. Histories hold only the
//! tag, and yet no byte of the value can change unseen.

/// What a read saw, as the history names it.
pub(crate) struct Tagged;

impl Tagged {
    /// The value of `bytes` bytes (or as many as the tag needs) that `tag` stands for.
    pub(crate) fn expand(tag: &str, bytes: usize) -> Vec<u8> {
        let unit = format!("{tag}|");
        unit.bytes().cycle().take(bytes.max(unit.len())).collect()
    }

    /// The tag that stands for `value`, or a description that is no tag when it was altered.
    pub(crate) fn recognize(value: &[u8], bytes: usize) -> String {
        let tag = value.split(|byte| *byte == b'|').next().unwrap_or_default();
        match std::str::from_utf8(tag) {
            Ok(tag) if Self::expand(tag, bytes) == value => tag.to_owned(),
            _ => {
                let start = String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
                format!("altered: {} bytes beginning {start:?}", value.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognized_by_its_tag() {
        for bytes in [0, 1, 5, 256] {
            let value = Tagged::expand("17.3", bytes);
            assert!(value.len() >= bytes);
            assert_eq!(Tagged::recognize(&value, bytes), "17.3");
        }
    }

    #[test]
    fn one_changed_byte_anywhere_is_seen() {
        let value = Tagged::expand("17.3", 64);
        for at in 0..value.len() {
            let mut altered = value.clone();
            altered[at] ^= 1;
            assert_ne!(Tagged::recognize(&altered, 64), "17.3", "byte {at}");
        }
    }

    #[test]
    fn a_value_cut_short_is_seen() {
        let value = Tagged::expand("17.3", 64);
        assert!(Tagged::recognize(&value[..60], 64).starts_with("altered: 60 bytes"));
    }
}
