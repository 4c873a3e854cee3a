//! The network between machines: what is on its way, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flin_groups::forward::Lost;
use flin_proto::peer::forward_request::Request as Operations;
use flin_proto::peer::forward_result::Result as Outcome;
use flin_proto::peer::{LeaderReport, SnapshotFrame};
use flin_replica::Message;
use flin_state::cluster::ClusterState;
use flin_state::ids::{GroupId, NodeId, ReplicaId};

use crate::chance::Chance;
use crate::machine::Slot;

/// What one process says to another.
#[expect(missing_docs, reason = "the names of the fields say it all")]
#[derive(Clone, Debug)]
pub enum Body {
    /// Raft messages of one round, in order.
    Raft(Vec<Message>),
    /// What the sender leads.
    Report(LeaderReport),
    /// Operations for a group that the receiver leads.
    Request { id: u64, group: u32, operations: Operations },
    /// What became of them.
    Answer { id: u64, outcome: Outcome },
    /// The meta state as the sender knows it.
    State(Arc<ClusterState>),
    /// A frame of a snapshot.
    Frame { transfer: u64, group: GroupId, frame: SnapshotFrame },
    /// The receiver wants the next frame.
    FrameTaken { transfer: u64 },
    /// The receiver has decided, or given up.
    Decided { transfer: u64, delivered: bool },
}

/// A message between two processes.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Who says it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What is said.
    pub body: Body,
}

/// What a process wants to leave, until the world takes it.
#[derive(Default)]
pub struct Exit {
    /// Parcels, and whether they left after the log was synced.
    pub parcels: Vec<(Parcel, bool)>,
    /// Snapshots to send.
    pub snapshots: Vec<(NodeId, Message)>,
    /// Whoever waits for the outcome of what was forwarded, and at which node it is.
    pub waiting: BTreeMap<u64, (NodeId, tokio::sync::oneshot::Sender<Result<Outcome, Lost>>)>,
    /// The id of the next request.
    pub next_request: u64,
    /// Transfers about which raft has decided here.
    pub decided: Vec<u64>,
    /// Whether the log was synced since the world looked last.
    pub synced: bool,
}

/// A snapshot on its way, at its sender.
pub struct Sending {
    /// The node that gets it.
    pub to: NodeId,
    /// The replica that gets it.
    pub replica: ReplicaId,
    /// Whose state.
    pub group: GroupId,
    /// What is left to send, the next last.
    pub frames: Vec<SnapshotFrame>,
    /// The time at which it is given up.
    pub give_up_us: u64,
}

/// The least and the most that a parcel takes.
const DELAY_US: (u64, u64) = (100, 1_500);

/// How links behave: well, unless something makes them bad.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Links, by direction, on which nothing passes; each with how many faults block it.
    blocked: BTreeMap<(Slot, Slot), u32>,
    /// Percent of the raft messages that are lost, doubled, and late, by what made them so.
    troubles: Vec<Trouble>,
    /// When the last parcel of each link arrives: they do not overtake each other unless something jumbles them.
    last_us: BTreeMap<(Slot, Slot), u64>,
}

/// What makes links bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Percent of the raft messages that are lost.
    pub lost: u64,
    /// Percent of the raft messages that come twice.
    pub doubled: u64,
    /// Whether messages overtake each other.
    pub jumbled: bool,
    /// What all messages take longer, at most.
    pub late_us: u64,
}

/// What becomes of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at these times.
    Arrives(Vec<u64>),
    /// It does not.
    Lost,
}

impl Network {
    /// Blocks links until [`Network::unblock`].
    pub fn block(&mut self, links: &BTreeSet<(Slot, Slot)>) {
        for link in links {
            *self.blocked.entry(*link).or_default() += 1;
        }
    }

    /// Takes one block from each of `links`.
    pub fn unblock(&mut self, links: &BTreeSet<(Slot, Slot)>) {
        for link in links {
            if let Some(count) = self.blocked.get_mut(link) {
                *count -= 1;
                if *count == 0 {
                    self.blocked.remove(link);
                }
            }
        }
    }

    /// Whether nothing passes from one to the other.
    pub fn is_blocked(&self, from: Slot, to: Slot) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Makes all links bad.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.troubles.push(trouble);
    }

    /// Ends one trouble.
    pub fn calm(&mut self, trouble: Trouble) {
        if let Some(at) = self.troubles.iter().position(|known| *known == trouble) {
            self.troubles.remove(at);
        }
    }

    /// What becomes of a parcel that leaves at `leaves_us`. Only raft messages are lost singly, doubled or jumbled:
    /// everything else travels on streams.
    pub fn fate(
        &mut self,
        (from, to): (Slot, Slot),
        body: &Body,
        leaves_us: u64,
        chance: &mut Chance,
    ) -> Fate {
        if self.is_blocked(from, to) {
            return Fate::Lost;
        }
        let raft = matches!(body, Body::Raft(_));
        let any = |ask: fn(&Trouble) -> u64| self.troubles.iter().map(ask).max().unwrap_or(0);
        let (lost, doubled, late_us) = (any(|t| t.lost), any(|t| t.doubled), any(|t| t.late_us));
        let jumbled = raft && self.troubles.iter().any(|trouble| trouble.jumbled);
        if raft && chance.percent(lost) {
            return Fate::Lost;
        }
        let (least, most) = DELAY_US;
        let copies = if raft && chance.percent(doubled) { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut arrives = leaves_us + chance.between(least, most) + chance.below(late_us + 1);
            if jumbled {
                arrives += chance.below(20_000);
            } else {
                let last = self.last_us.entry((from, to)).or_default();
                arrives = arrives.max(*last + 1);
                *last = arrives;
            }
            arrivals.push(arrives);
        }
        Fate::Arrives(arrivals)
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        self.blocked.clear();
        self.troubles.clear();
    }
}
