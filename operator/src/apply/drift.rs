//! Tells whether an object is what it should be. Only what we ask for is compared: the rest of an
//! object belongs to the API server and to other managers. An annotation with a hash of all we ask for
//! shows what we asked for once and no longer do.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::desired::Unwritable;

/// The annotation with the hash of what was applied.
pub(super) const ANNOTATION_APPLIED: &str = "flin.io/applied";
const HASH_BYTES: usize = 8;

/// An object as it should be, ready to be applied.
pub(super) struct Wanted {
    pub(super) json: Value,
    pub(super) hash: String,
}

impl Wanted {
    pub(super) fn new(object: &impl Serialize) -> Result<Self, Unwritable> {
        let mut json = as_json(object)?;
        let hash = hex::encode(&Sha256::digest(json.to_string())[..HASH_BYTES]);
        let annotations = json
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .map(|metadata| metadata.entry("annotations").or_insert(Value::Object(Map::new())));
        if let Some(Value::Object(annotations)) = annotations {
            annotations.insert(ANNOTATION_APPLIED.to_owned(), Value::String(hash.clone()));
        }
        Ok(Self { json, hash })
    }

    /// The part of `observed` that we ask for.
    pub(super) fn projected(&self, observed: &impl Serialize) -> Result<Value, Unwritable> {
        Ok(project(&self.json, &as_json(observed)?))
    }
}

fn as_json(object: &impl Serialize) -> Result<Value, Unwritable> {
    serde_json::to_value(object).map_err(|source| Unwritable { what: "an object", source })
}

/// What of `observed` is in the places of `wanted`. Lists are taken element by element when they are as
/// long as wanted, and whole when they are not.
fn project(wanted: &Value, observed: &Value) -> Value {
    match (wanted, observed) {
        (Value::Object(wanted), Value::Object(observed)) => {
            let fields = wanted.iter().filter_map(|(key, value)| {
                observed.get(key).map(|there| (key.clone(), project(value, there)))
            });
            Value::Object(fields.collect())
        }
        (Value::Array(wanted), Value::Array(observed)) if wanted.len() == observed.len() => {
            wanted.iter().zip(observed).map(|(value, there)| project(value, there)).collect()
        }
        _ => observed.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differs(wanted: Value, change: impl FnOnce(&mut Value)) -> bool {
        let wanted = Wanted::new(&wanted).expect("it is JSON");
        let mut observed = wanted.json.clone();
        change(&mut observed);
        wanted.projected(&observed).expect("it is JSON") != wanted.json
    }

    fn service() -> Value {
        json!({"metadata": {"name": "demo"}, "spec": {"ports": [{"name": "resp", "port": 6380}]}})
    }

    #[test]
    fn what_the_server_adds_is_no_drift() {
        assert!(!differs(service(), |there| {
            there["metadata"]["resourceVersion"] = json!("7");
            there["spec"]["clusterIP"] = json!("10.0.0.1");
            there["spec"]["ports"][0]["nodePort"] = json!(30001);
        }));
    }

    #[test]
    fn changed_removed_and_additional_parts_are_drift() {
        assert!(differs(service(), |there| there["spec"]["ports"][0]["port"] = json!(1)));
        assert!(differs(service(), |there| there["spec"] = json!({})));
        assert!(differs(service(), |there| {
            there["spec"]["ports"] = json!([{"name": "resp", "port": 6380}, {"name": "x"}]);
        }));
    }

    #[test]
    fn part_no_longer_asked_for_changes_the_hash() {
        let hash = |value: Value| Wanted::new(&value).expect("it is JSON").hash;
        let mut with = service();
        with["spec"]["ports"][0]["nodePort"] = json!(30001);
        assert_ne!(hash(with), hash(service()));
    }
}
