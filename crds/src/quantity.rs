//! Amounts of a resource as Kubernetes writes them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Digits behind the point that count; more are finer than any unit.
const PART_DIGITS_MAX: usize = 15;

/// An amount such as `100m` or `1Gi`. People may write a bare integer where a string is meant, as
/// everywhere in Kubernetes; it is kept and written as a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Quantity(String);

impl Quantity {
    /// The amount as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in thousandths, so that `1000m`, `1` and `0.001k` are equal. Parts of a thousandth are cut
    /// off, and what no number holds is the largest one. `None` when it is no amount.
    #[must_use]
    pub fn thousandths(&self) -> Option<u128> {
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let (number, unit) = self.0.split_at(self.0.find(|c| !digits(c)).unwrap_or(self.0.len()));
        let multiplier: u128 = match unit {
            "m" => 1,
            "" => 1000,
            "k" => 1_000_000,
            "M" => 1_000_000_000,
            "G" => 1_000_000_000_000,
            "T" => 1_000_000_000_000_000,
            "P" => 1_000_000_000_000_000_000,
            "Ki" => 1000 << 10,
            "Mi" => 1000 << 20,
            "Gi" => 1000 << 30,
            "Ti" => 1000 << 40,
            "Pi" => 1000 << 50,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let part = &part[..part.len().min(PART_DIGITS_MAX)];
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
        let whole: u128 = whole.parse().ok()?;
        Some(whole.saturating_mul(multiplier).saturating_add(part * multiplier / scale))
    }

    /// The amount in whole units, bytes for example. `None` when it is no amount.
    #[must_use]
    pub fn units(&self) -> Option<u64> {
        let units = self.thousandths()? / 1000;
        Some(u64::try_from(units).unwrap_or(u64::MAX))
    }
}

impl From<&str> for Quantity {
    fn from(written: &str) -> Self {
        Self(written.to_owned())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Quantity;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a quantity such as \"1Gi\" or an integer")
            }

            fn visit_str<E: Error>(self, written: &str) -> Result<Quantity, E> {
                Ok(Quantity::from(written))
            }

            fn visit_i64<E: Error>(self, written: i64) -> Result<Quantity, E> {
                Ok(Quantity(written.to_string()))
            }

            fn visit_u64<E: Error>(self, written: u64) -> Result<Quantity, E> {
                Ok(Quantity(written.to_string()))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantity_may_be_written_as_an_integer() {
        let read: Vec<Quantity> = serde_json::from_str(r#"["1Gi", 2]"#).expect("both are amounts");
        assert_eq!(read, [Quantity::from("1Gi"), Quantity::from("2")]);
    }

    #[test]
    fn amounts_are_equal_however_they_are_spelled() {
        let thousandths = |written: &str| Quantity::from(written).thousandths();
        for (one, other) in
            [("2048Mi", "2Gi"), ("1.5Gi", "1536Mi"), ("1000m", "1"), ("0.5k", "500")]
        {
            assert_eq!(thousandths(one), thousandths(other), "{one} {other}");
            assert!(thousandths(one).is_some());
        }
        assert!(thousandths("2Gi") > thousandths("2G"));
        assert_eq!(Quantity::from("64Ki").units(), Some(65536));
        for no_amount in ["", "Gi", "1.2.3", "5 Gi", "-1"] {
            assert_eq!(thousandths(no_amount), None, "{no_amount}");
        }
    }
}
