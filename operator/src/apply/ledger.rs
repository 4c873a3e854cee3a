//! How the API server spells what it was given, where that differs: `1000m` becomes `1`, for example.
//! Without this memory such an object would be applied again in every pass, which is the classic way
//! for an operator to keep an API server busy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::drift::Wanted;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The spellings known. Objects that come back as they were sent take no room here; it is empty at
/// the start, so that at most one write per object is needless.
#[derive(Debug, Default)]
pub struct Ledger {
    spellings: Mutex<HashMap<Key, Spelling>>,
}

#[derive(Debug)]
struct Spelling {
    hash: String,
    stored: Value,
}

impl Ledger {
    /// Whether `there` is how the API server spells what was asked for by `hash`.
    pub(super) fn is_known(&self, key: &Key, hash: &str, there: &Value) -> bool {
        let spellings = self.spellings.lock().unwrap_or_else(PoisonError::into_inner);
        spellings
            .get(key)
            .is_some_and(|spelling| spelling.hash == hash && spelling.stored == *there)
    }

    /// Remembers what the API server made of `wanted`.
    pub(super) fn record(&self, key: Key, wanted: &Wanted, stored: Value) {
        let mut spellings = self.spellings.lock().unwrap_or_else(PoisonError::into_inner);
        if stored == wanted.json {
            spellings.remove(&key);
        } else {
            spellings.insert(key, Spelling { hash: wanted.hash.clone(), stored });
        }
    }

    /// Forgets the objects of a cluster that is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let mut spellings = self.spellings.lock().unwrap_or_else(PoisonError::into_inner);
        spellings.retain(|key, _| {
            let of_cluster = key.name == cluster
                || key.name.strip_prefix(cluster).is_some_and(|rest| rest.starts_with('-'));
            key.namespace != namespace || !of_cluster
        });
    }
}
