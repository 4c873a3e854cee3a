//! Amounts as people write and read them.

/// So many bytes in at most four digits: `812 B`, `1.5 KiB`, `3.4 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1_024.0;
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 999.95 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1_024.0;
    }
    format!("{amount:.1} PiB")
}

/// A time in its two largest units: `45 s`, `2 min 5 s`, `3 h 10 min`.
pub(crate) fn seconds(count: u64) -> String {
    match (count / 3_600, count % 3_600 / 60, count % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A number of things: `1 replica`, `3 replicas`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Reads bytes as in `1048576`, `1Mi` or `1MiB`.
///
/// # Errors
/// What is expected, for a text that is no such amount or more than 64 bits hold.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().trim_end_matches('B') {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => 0,
    };
    let amount: Option<u64> = number.parse().ok();
    amount
        .filter(|_| factor > 0)
        .and_then(|amount| amount.checked_mul(factor))
        .ok_or_else(|| "expected bytes, as in 1048576, 512KiB, 64MiB or 1GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let rows = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_023_948, "999.9 KiB"),
            (1_023_999, "1.0 MiB"),
            (3_650_722_202, "3.4 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (count, text) in rows {
            assert_eq!(bytes(count), text);
        }
        for (count, text) in [(45, "45 s"), (125, "2 min 5 s"), (11_400, "3 h 10 min")] {
            assert_eq!(seconds(count), text);
        }
        assert_eq!([counted(1, "node"), counted(0, "node")], ["1 node", "0 nodes"]);
    }

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        let rows = [("0", 0), ("1048576", 1 << 20), ("64MiB", 64 << 20), ("2Gi", 2 << 30)];
        for (text, expected) in rows {
            assert_eq!(parse_bytes(text), Ok(expected));
        }
        for text in ["", "MiB", "1.5GiB", "10M", "-1", "99999999999Gi"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
