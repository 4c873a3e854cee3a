//! The bootstrap file: a cluster that can work, or a reason why not.
//!
//! The module is taken in as source, because the crate it is part of links RocksDB.

#![no_main]

use std::cell::RefCell;
use std::error::Error;

use bootstrap::{Bootstrap, BootstrapError};
use flin_fuzz::file::MemoryFile;
use flin_state::cluster::ClusterState;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, missing_docs, unused_imports, reason = "the node uses all of it")]
#[path = "../../node/src/bootstrap.rs"]
mod bootstrap;

thread_local! {
    static FILE: RefCell<MemoryFile> = RefCell::new(MemoryFile::new());
}

fuzz_target!(|data: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.fill(data);
        match Bootstrap::read(file.path(), "n1") {
            Ok(bootstrap) => check(&bootstrap, file),
            Err(error @ BootstrapError::TooLarge { .. }) => panic!("{error}"),
            Err(error) => assert!(!error.to_string().is_empty() && error.source().is_some()),
        }
    });
});

fn check(bootstrap: &Bootstrap, file: &mut MemoryFile) {
    let Bootstrap { genesis, phase, node_id } = bootstrap;
    assert_eq!(bootstrap.namesake().map(|member| member.node_id), *node_id);
    let others = bootstrap.other_addresses().len();
    assert_eq!(others + usize::from(node_id.is_some()), genesis.members.len());
    assert!(!bootstrap.member_names().is_empty());
    // What it describes can begin, and is the same cluster for whoever reads it.
    let state = genesis.begin().expect("it was checked");
    let first = state.first_later_replica;
    for group in state.groups() {
        let replicas = state.replicas_of(group);
        assert_eq!(replicas.len(), usize::from(genesis.replication_factor));
        for placed in replicas {
            assert!(placed.replica < first && state.members.contains_key(&placed.node));
            let birth = state.birth_configuration(group, placed.replica);
            assert_eq!(birth, Some(state.first_configuration(group)));
        }
    }
    assert_eq!(ClusterState::from_json(&state.to_json()).expect("it was just written"), state);
    file.fill(bootstrap::to_json(genesis, *phase).as_bytes());
    let again = Bootstrap::read(file.path(), "n1").expect("it was just written");
    assert_eq!(again, *bootstrap);
}
