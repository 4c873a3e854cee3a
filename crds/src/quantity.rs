//! Amounts of a resource as Kubernetes writes them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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
}
