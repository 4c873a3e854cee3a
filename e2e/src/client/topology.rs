//! Which node owns which hash slot, as the cluster last said.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::resp::Value;

/// The number of hash slots of the Redis Cluster protocol.
pub(crate) const SLOTS: u16 = 16_384;

/// The hash slot of a key without a hash tag; our keys have none.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(key) % SLOTS
}

/// One key for each partition, in their order, each beginning with `prefix`: partition = slot * partitions /
/// slots.
pub(crate) fn keys_of_partitions(prefix: &str, partitions: u16) -> Vec<String> {
    let mut keys = BTreeMap::new();
    for n in 0_u32.. {
        if keys.len() >= usize::from(partitions) {
            break;
        }
        let key = format!("{prefix}{n}");
        let slot = u32::from(slot_of(key.as_bytes()));
        keys.entry(slot * u32::from(partitions) / u32::from(SLOTS)).or_insert(key);
    }
    keys.into_values().collect()
}

/// The owners of all slots, shared by the connections of one run.
#[derive(Default)]
pub(crate) struct Topology {
    owners: RwLock<Vec<Option<Arc<str>>>>,
}

impl Topology {
    /// Where the owner of `slot` answers; `None` when that is not known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<str>> {
        let owners = self.owners.read().expect("no holder of the lock panics");
        owners.get(usize::from(slot)).cloned().flatten()
    }

    /// Believes a `MOVED`.
    pub(crate) fn moved(&self, slot: u16, address: &str) {
        let mut owners = self.owners.write().expect("no holder of the lock panics");
        owners.resize(usize::from(SLOTS), None);
        owners[usize::from(slot % SLOTS)] = Some(address.into());
    }

    /// Forgets that `address` owns anything: it does not answer.
    pub(crate) fn forget(&self, address: &str) {
        let mut owners = self.owners.write().expect("no holder of the lock panics");
        for owner in owners.iter_mut().filter(|owner| owner.as_deref() == Some(address)) {
            *owner = None;
        }
    }

    /// Believes the answer to `CLUSTER SLOTS`.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub(crate) fn learn(&self, answer: &Value) -> Result<(), String> {
        let mut fresh = vec![None; usize::from(SLOTS)];
        for (first, last, address) in parse_slots(answer)? {
            fresh[usize::from(first)..=usize::from(last)].fill(Some(Arc::from(address)));
        }
        *self.owners.write().expect("no holder of the lock panics") = fresh;
        Ok(())
    }
}

/// The ranges of `CLUSTER SLOTS`: first slot, last slot, `host:port` of the owner.
///
/// # Errors
/// What is wrong with the answer.
pub(crate) fn parse_slots(answer: &Value) -> Result<Vec<(u16, u16, String)>, String> {
    let strange = || format!("CLUSTER SLOTS was answered {answer:?}");
    let Value::Array(ranges) = answer else { return Err(strange()) };
    ranges.iter().map(|range| parse_range(range).ok_or_else(strange)).collect()
}

fn parse_range(range: &Value) -> Option<(u16, u16, String)> {
    let Value::Array(fields) = range else { return None };
    let [Value::Integer(first), Value::Integer(last), Value::Array(owner), ..] = fields.as_slice()
    else {
        return None;
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let [host, Value::Integer(port), ..] = owner.as_slice() else { return None };
    (first <= last && last < SLOTS).then_some((first, last, format!("{}:{port}", host.text()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: &str) -> Value {
        let owner = vec![Value::Bulk(host.to_owned().into()), Value::Integer(6_384)];
        Value::Array(vec![Value::Integer(first), Value::Integer(last), Value::Array(owner)])
    }

    #[test]
    fn the_slot_of_foo_is_the_published_one() {
        assert_eq!(slot_of(b"foo"), 12_182);
    }

    #[test]
    fn there_is_one_key_for_every_partition() {
        for partitions in [1, 8, 64, 1_024] {
            let keys = keys_of_partitions("k", partitions);
            let owners = keys.iter().map(|key| {
                u32::from(slot_of(key.as_bytes())) * u32::from(partitions) / u32::from(SLOTS)
            });
            assert!(owners.eq(0..u32::from(partitions)));
        }
    }

    #[test]
    fn owners_are_learnt_moved_and_forgotten() {
        let topology = Topology::default();
        assert_eq!(topology.owner(0), None);
        let answer = Value::Array(vec![range(0, 99, "a"), range(100, 16_383, "b")]);
        topology.learn(&answer).expect("a fit answer");
        assert_eq!(topology.owner(99).as_deref(), Some("a:6384"));
        topology.moved(99, "c:6384");
        assert_eq!(topology.owner(99).as_deref(), Some("c:6384"));
        topology.forget("b:6384");
        assert_eq!(topology.owner(100), None);
        assert_eq!(topology.owner(0).as_deref(), Some("a:6384"));
    }

    #[test]
    fn a_range_beyond_the_slots_is_refused() {
        let answer = Value::Array(vec![range(0, 16_384, "a")]);
        assert!(Topology::default().learn(&answer).is_err());
    }
}
