//! FlinClusters as people write them: read back as they were understood, and judged alike by the rules in the
//! schema and by the amounts that the operator counts with.
//!
//! The first byte chooses what the rest is: the JSON of a spec, or an amount, or a name.

#![no_main]

use flin_crds::{FlinCluster, FlinClusterSpec, Quantity, names};
use libfuzzer_sys::fuzz_target;

const GIBIBYTE: u64 = 1 << 30;

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    match kind % 3 {
        0 => spec(bytes),
        1 => amount(bytes),
        _ => name(bytes),
    }
});

fn spec(json: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<FlinClusterSpec>(json) else { return };
    let written = serde_json::to_vec(&spec).expect("a spec is JSON");
    let again: FlinClusterSpec = serde_json::from_slice(&written).expect("it was just written");
    assert_eq!(again, spec);
    assert_eq!(serde_json::to_vec(&again).expect("a spec is JSON"), written);
    let size = Quantity::from(spec.storage.size.as_str());
    let (replicas, replication_factor) = (spec.replicas, spec.replication_factor);
    let pace = spec.rebalance.bytes_per_second.as_deref().map(Quantity::from);
    let cluster = FlinCluster::new("demo", spec);
    let Ok(()) = cluster.validate_cel() else { return };
    assert!(replicas >= replication_factor);
    // What is an amount to the operator is one of the same size to the rules.
    assert!(size.thousandths().is_none() || size.units() >= Some(GIBIBYTE), "{size:?}");
    if let Some(pace) = pace.filter(|pace| pace.thousandths().is_some()) {
        assert!(pace.units() >= Some(64 << 10), "{pace:?}");
    }
    cluster.validate_cel_update(&cluster).expect("nothing was changed");
}

fn amount(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let amount = Quantity::from(text);
    assert_eq!(amount.as_str(), text);
    let Some(thousandths) = amount.thousandths() else { return assert_eq!(amount.units(), None) };
    let units = u64::try_from(thousandths / 1000).unwrap_or(u64::MAX);
    assert_eq!(amount.units(), Some(units));
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
    // A zero in front changes nothing, one behind a whole number is ten times as much.
    let more = Quantity::from(format!("0{text}").as_str());
    assert_eq!(more.thousandths(), Some(thousandths));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let ten = Quantity::from(format!("{text}0").as_str()).thousandths();
        assert!(
            ten == Some(thousandths.saturating_mul(10))
                || ten.is_none()
                || ten >= Some(thousandths)
        );
    }
}

fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ordinal = bytes.len() as u32;
    assert_eq!(names::pod_ordinal(text, &names::pod(text, ordinal)), Some(ordinal));
    let claim = names::volume_claim(text, ordinal);
    assert_eq!(names::volume_claim_ordinal(text, &claim), Some(ordinal));
    let Some((cluster, other)) = text.split_once('/') else { return };
    if let Some(ordinal) = names::pod_ordinal(cluster, other) {
        assert_eq!(names::pod(cluster, ordinal), other);
    }
    if let Some(ordinal) = names::volume_claim_ordinal(cluster, other) {
        assert_eq!(names::volume_claim(cluster, ordinal), other);
    }
}
