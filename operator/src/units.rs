//! Amounts as people read them, written as the `flin` command writes them.

use std::borrow::Cow;

/// What replicas hold or move: `65 replicas (1.0 GiB)`, without the bytes when they are 0 or not known.
pub(crate) fn replicas(count: u64, bytes: u64) -> String {
    let ending = if count == 1 { "" } else { "s" };
    let size = match bytes {
        0 => Cow::Borrowed(""),
        bytes => Cow::Owned(format!(" ({})", self::bytes(bytes))),
    };
    format!("{count} replica{ending}{size}")
}

/// So many bytes in at most four digits: `812 B`, `716.9 KiB`, `3.4 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    match scaled(count) {
        (_, "B") => format!("{count} B"),
        (amount, unit) => format!("{amount:.1} {unit}"),
    }
}

/// So many bytes in two digits, for a message that must not change with every write of a client.
pub(crate) fn bytes_roughly(count: u64) -> String {
    match scaled(count) {
        (_, "B") => format!("{count} B"),
        (amount, unit) if amount >= 100.0 => {
            format!("{:.0} {unit}", (amount / 10.0).round() * 10.0)
        }
        (amount, unit) if amount >= 10.0 => format!("{amount:.0} {unit}"),
        (amount, unit) => format!("{amount:.1} {unit}"),
    }
}

/// The amount in the largest unit of which there is one at least, or nearly.
fn scaled(count: u64) -> (f64, &'static str) {
    if count < 1_024 {
        return (count as f64, "B");
    }
    let mut amount = count as f64 / 1_024.0;
    for unit in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if amount < 999.95 {
            return (amount, unit);
        }
        amount /= 1_024.0;
    }
    (amount, "EiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_binary_units() {
        let shown = [0, 1_023, 1_024, 734_106, 1_023_999, 3_650_722_202, u64::MAX].map(bytes);
        let expected = ["0 B", "1023 B", "1.0 KiB", "716.9 KiB", "1.0 MiB", "3.4 GiB", "16.0 EiB"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn rough_bytes_have_two_digits() {
        let shown = [0, 999, 1_536, 15_000, 123_456_789, u64::MAX].map(bytes_roughly);
        assert_eq!(shown, ["0 B", "999 B", "1.5 KiB", "15 KiB", "120 MiB", "16 EiB"]);
    }

    #[test]
    fn replicas_are_counted_with_their_bytes_where_these_are_known() {
        let shown = [(0, 0), (1, 0), (65, 734_106)].map(|(count, bytes)| replicas(count, bytes));
        assert_eq!(shown, ["0 replicas", "1 replica", "65 replicas (716.9 KiB)"]);
    }
}
