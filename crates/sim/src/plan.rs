//! What a seed stands for: the cluster, its clients, and what befalls them.

use flin_state::cluster::{Genesis, GenesisMember};
use flin_state::ids::{ClusterId, NodeId};

use crate::chance::Chance;
use crate::fault::{Fault, Role};
use crate::machine::{LogSize, Slot};

/// Everything that a run is a function of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it comes from; also the source of all chance in the run.
    pub seed: u64,
    /// How many nodes found the cluster.
    pub founders: u8,
    /// How many machines there are; those beyond the founders wait to join.
    pub machines: u8,
    /// How many partitions it has.
    pub partitions: u16,
    /// How many replicas each group has.
    pub replication_factor: u8,
    /// How large logs get.
    pub log_segment_bytes: u64,
    /// How long each disk takes to sync.
    pub sync_us: u64,
    /// How many clients work at a time.
    pub clients: u8,
    /// How many operations they do together, at least.
    pub operations: u32,
    /// How many keys they work on: few, so that they meet.
    pub keys: u8,
    /// How far wall clocks may be wrong; within it clients use keys that expire.
    pub clock_error_ms: u64,
    /// What befalls the cluster, in order.
    pub faults: Vec<Planned>,
}

/// A fault and when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// After the clients began.
    pub at_us: u64,
    /// What it is.
    pub fault: Fault,
    /// Whom it strikes.
    pub role: Role,
    /// Chooses among all that can be chosen.
    pub choice: u64,
}

/// How much a plan asks for.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Operations of clients.
    pub operations: u32,
    /// Faults.
    pub faults: u32,
}

impl Default for Measure {
    fn default() -> Self {
        Measure { operations: 2_000, faults: 20 }
    }
}

impl Plan {
    /// The plan of `seed`.
    pub fn of(seed: u64, measure: Measure) -> Plan {
        let mut chance = Chance::new(seed);
        let founders = u8::try_from(chance.between(3, 4)).unwrap_or(3);
        let clock_error_ms = [0, 0, 50, 300][usize::try_from(chance.below(4)).unwrap_or(0)];
        let mut plan = Plan {
            seed,
            founders,
            machines: founders + 2,
            partitions: u16::try_from(chance.between(1, 4)).unwrap_or(1),
            replication_factor: 3,
            log_segment_bytes: [4 << 10, 16 << 10, 64 << 10]
                [usize::try_from(chance.below(3)).unwrap_or(0)],
            sync_us: chance.between(50, 4_000),
            clients: u8::try_from(chance.between(4, 10)).unwrap_or(4),
            operations: measure.operations,
            keys: u8::try_from(chance.between(6, 24)).unwrap_or(6),
            clock_error_ms,
            faults: Vec::new(),
        };
        let mut at_us = 500_000;
        for _ in 0..measure.faults {
            let fault = Fault::any(&mut chance, clock_error_ms);
            let role = Role::any(&mut chance);
            plan.faults.push(Planned { at_us, fault, role, choice: chance.number() });
            at_us += chance.between(100_000, 2_500_000);
        }
        plan
    }

    /// When the last fault strikes.
    pub fn last_fault_us(&self) -> u64 {
        self.faults.last().map_or(0, |planned| planned.at_us)
    }

    /// What the cluster begins with.
    pub fn genesis(&self) -> Genesis {
        let members = (0..self.founders).map(|slot| GenesisMember {
            name: name(Slot(slot)),
            node_id: NodeId(u64::from(slot) + 1),
            peer_address: format!("{}:6383", name(Slot(slot))),
            client_address: format!("{}:6384", name(Slot(slot))),
            zone: String::new(),
        });
        Genesis {
            cluster_id: ClusterId(u128::from(self.seed) + 1),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            members: members.collect(),
        }
    }

    /// The limits of each log.
    pub fn log_size(&self) -> LogSize {
        let segment_bytes = self.log_segment_bytes;
        LogSize { segment_bytes, budget_bytes: 4 * segment_bytes }
    }
}

/// What the node on a machine is called.
pub fn name(slot: Slot) -> String {
    format!("m{}", slot.0)
}
