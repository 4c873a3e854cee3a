//! What this node knows of every group and every peer, for readers on any thread.
//!
//! The worker pins up what its replicas see, peers' reports what they lead. A fact of a higher term
//! replaces one of a lower; readers take the whole [`View`] at the price of one reference count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use flin_proto::peer::{JobReport, LeaderReport, Seat};
use flin_state::cluster::ClusterState;
use flin_state::ids::{GroupId, NodeId, Term};
use tokio::sync::watch;

use crate::requests::View;

/// A leader or a node not heard of for this long counts as gone, for reports and health.
pub const SILENCE_MS_MAX: u64 = 3_000;

/// What is known of a group's leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leadership {
    /// The term of what is known.
    pub term: Term,
    /// The leading node, if one is known.
    pub leader: Option<NodeId>,
    /// Replicas alive and caught up, as the leader sees them.
    pub healthy: u32,
    /// When the leader said so, by the monotonic clock.
    pub reported_ms: Option<u64>,
    /// How many replicas vote.
    pub replicas: u32,
    /// Live data, estimated.
    pub bytes: u64,
    /// What the group has made of its job.
    pub job: Option<JobReport>,
}

/// The space of a data volume, in bytes; zeros when it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub total: u64,
    /// What is left.
    pub free: u64,
}

/// The shared board of a node.
pub struct Board {
    node: NodeId,
    facts: RwLock<Facts>,
    view: RwLock<Arc<View>>,
    cluster: watch::Sender<Option<Arc<ClusterState>>>,
    report: watch::Sender<LeaderReport>,
}

#[derive(Default)]
struct Facts {
    groups: BTreeMap<GroupId, Leadership>,
    heard_ms: BTreeMap<NodeId, u64>,
    /// Peers that hand their leaderships over.
    leaving: BTreeSet<NodeId>,
    ready: Option<String>,
    replicas: usize,
    disks: BTreeMap<NodeId, Disk>,
    /// Who is in each group, as the leader of the latest term said that was heard.
    seats: BTreeMap<GroupId, Seated>,
    /// The live data of groups hosted here, estimated.
    bytes: BTreeMap<GroupId, u64>,
}

/// What a leader last said of who is in its group.
struct Seated {
    term: Term,
    reported_ms: u64,
    /// Empty while that is not settled.
    seats: Arc<[Seat]>,
}

impl Seated {
    /// The seats, if they are settled and were told a moment ago.
    fn settled(&self, now_ms: u64) -> Option<Arc<[Seat]>> {
        let fresh = now_ms.saturating_sub(self.reported_ms) <= SILENCE_MS_MAX;
        (fresh && !self.seats.is_empty()).then(|| self.seats.clone())
    }
}

impl Facts {
    fn seat(&mut self, group: GroupId, term: Term, seats: &[Seat], reported_ms: u64) {
        let known = self.seats.get(&group);
        if known.is_some_and(|known| known.term > term) {
            return;
        }
        let same = known.filter(|known| *known.seats == *seats).map(|known| known.seats.clone());
        let seats = same.unwrap_or_else(|| seats.into());
        self.seats.insert(group, Seated { term, reported_ms, seats });
    }
}

impl Board {
    /// An empty board on `node`.
    pub fn new(node: NodeId) -> Arc<Self> {
        let view = View { node, cluster: None, leaders: Vec::new(), serving: Err(FORMING.into()) };
        Arc::new(Board {
            node,
            facts: RwLock::new(Facts { ready: Some("starting".into()), ..Facts::default() }),
            view: RwLock::new(Arc::new(view)),
            cluster: watch::Sender::new(None),
            report: watch::Sender::new(LeaderReport::default()),
        })
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What this node leads, for its peers; now and whenever it is said anew.
    pub fn reports(&self) -> watch::Receiver<LeaderReport> {
        self.report.subscribe()
    }

    /// Pins up what this node leads, and tells the peers.
    pub fn report(&self, report: LeaderReport, now_ms: u64) {
        self.hear(&report, now_ms);
        self.report.send_replace(report);
    }

    /// The cluster as it looks from here.
    pub fn view(&self) -> Arc<View> {
        self.view.read().expect(POISON).clone()
    }

    /// The meta state, now and whenever it changes.
    pub fn cluster(&self) -> watch::Receiver<Option<Arc<ClusterState>>> {
        self.cluster.subscribe()
    }

    /// Pins up a meta state unless a newer one hangs there; returns whether it was new.
    pub fn set_cluster(&self, state: Arc<ClusterState>) -> bool {
        let fresh = self.cluster.send_if_modified(|current| {
            let newer = current.as_ref().is_none_or(|known| known.revision < state.revision);
            if newer {
                *current = Some(state);
            }
            newer
        });
        if fresh {
            self.refresh_view();
        }
        fresh
    }

    /// Pins up what a local replica knows of its leader.
    pub fn learn(&self, group: GroupId, term: Term, leader: Option<NodeId>) {
        let mut facts = self.facts.write().expect(POISON);
        let known = facts.groups.entry(group).or_default();
        if term < known.term || (known.term, known.leader) == (term, leader) {
            return;
        }
        // A replica of the same term that has lost touch knows less than the leader's own report.
        if term == known.term && leader.is_none() && known.leader != Some(self.node) {
            return;
        }
        (known.term, known.leader) = (term, leader);
        drop(facts);
        self.refresh_view();
    }

    /// Pins up what a node says it leads.
    pub fn hear(&self, report: &LeaderReport, now_ms: u64) {
        let node = NodeId(report.node_id);
        let mut changed = false;
        let mut facts = self.facts.write().expect(POISON);
        facts.heard_ms.insert(node, now_ms);
        if report.disk_total_bytes > 0 {
            let disk = Disk { total: report.disk_total_bytes, free: report.disk_free_bytes };
            facts.disks.insert(node, disk);
        }
        if report.leaving {
            facts.leaving.insert(node);
        } else {
            facts.leaving.remove(&node);
        }
        for led in &report.groups {
            let Ok(group) = u16::try_from(led.group) else { continue };
            let term = Term(led.term);
            facts.seat(GroupId(group), term, &led.seats, now_ms);
            let known = facts.groups.entry(GroupId(group)).or_default();
            if term < known.term {
                continue;
            }
            changed |= known.leader != Some(node);
            *known = Leadership {
                term,
                leader: Some(node),
                healthy: led.healthy,
                reported_ms: Some(now_ms),
                replicas: led.replicas,
                bytes: led.bytes,
                job: led.job,
            };
        }
        drop(facts);
        if changed {
            self.refresh_view();
        }
    }

    /// Whether this node is ready, or why not.
    pub fn ready(&self) -> Result<(), String> {
        match &self.facts.read().expect(POISON).ready {
            None => Ok(()),
            Some(reason) => Err(reason.clone()),
        }
    }

    /// Pins up why this node is not ready, or that it is.
    pub(crate) fn set_ready(&self, not_ready: Option<String>) {
        self.facts.write().expect(POISON).ready = not_ready;
    }

    /// How many replicas this node hosts, the meta group's included.
    pub fn replicas(&self) -> usize {
        self.facts.read().expect(POISON).replicas
    }

    pub(crate) fn set_replicas(&self, replicas: usize) {
        self.facts.write().expect(POISON).replicas = replicas;
    }

    /// What is known of one group.
    pub fn leadership(&self, group: GroupId) -> Leadership {
        self.facts.read().expect(POISON).groups.get(&group).copied().unwrap_or_default()
    }

    /// How many groups this node leads, as far as is known.
    pub fn led_here(&self) -> usize {
        let facts = self.facts.read().expect(POISON);
        facts.groups.values().filter(|known| known.leader == Some(self.node)).count()
    }

    /// Whether another node was heard of lately that does not leave.
    pub fn has_staying_peers(&self, now_ms: u64) -> bool {
        let facts = self.facts.read().expect(POISON);
        facts.heard_ms.iter().any(|(node, at)| {
            *node != self.node
                && !facts.leaving.contains(node)
                && now_ms.saturating_sub(*at) <= SILENCE_MS_MAX
        })
    }

    /// Whether `node` was heard of lately; this node always is.
    pub fn is_alive(&self, node: NodeId, now_ms: u64) -> bool {
        let facts = self.facts.read().expect(POISON);
        node == self.node
            || facts
                .heard_ms
                .get(&node)
                .is_some_and(|at| now_ms.saturating_sub(*at) <= SILENCE_MS_MAX)
    }

    /// Who is in a group, if its leader said a moment ago that its configuration is settled.
    pub fn seats(&self, group: GroupId, now_ms: u64) -> Option<Arc<[Seat]>> {
        let facts = self.facts.read().expect(POISON);
        let seated = facts.seats.get(&group)?;
        let known = facts.groups.get(&group)?;
        (known.term == seated.term).then(|| seated.settled(now_ms))?
    }

    /// As [`Board::seats`], though a later term than the leader's is known of: who was removed may campaign for ever
    /// in terms that nobody else hears of. The leader is one of `term` or later.
    pub fn seats_since(&self, group: GroupId, term: Term, now_ms: u64) -> Option<Arc<[Seat]>> {
        let facts = self.facts.read().expect(POISON);
        facts.seats.get(&group).filter(|seated| seated.term >= term)?.settled(now_ms)
    }

    /// For how long `node` was not heard of; `None` if it never was since this node started. This node
    /// always is.
    pub fn silence_ms(&self, node: NodeId, now_ms: u64) -> Option<u64> {
        if node == self.node {
            return Some(0);
        }
        let facts = self.facts.read().expect(POISON);
        facts.heard_ms.get(&node).map(|at| now_ms.saturating_sub(*at))
    }

    /// The space of a node's data volume, as it last said.
    pub fn disk(&self, node: NodeId) -> Disk {
        self.facts.read().expect(POISON).disks.get(&node).copied().unwrap_or_default()
    }

    /// Pins up the space of this node's data volume; its reports carry it on.
    pub fn set_own_disk(&self, disk: Disk) {
        self.facts.write().expect(POISON).disks.insert(self.node, disk);
    }

    /// The live data of a group: as estimated here, or else as its last leader said.
    pub fn estimated_bytes(&self, group: GroupId) -> u64 {
        let facts = self.facts.read().expect(POISON);
        let reported = || facts.groups.get(&group).map(|known| known.bytes);
        facts.bytes.get(&group).copied().or_else(reported).unwrap_or_default()
    }

    pub(crate) fn set_estimated_bytes(&self, group: GroupId, bytes: u64) {
        self.facts.write().expect(POISON).bytes.insert(group, bytes);
    }

    fn refresh_view(&self) {
        let cluster = self.cluster.borrow().clone();
        let partitions = cluster.as_ref().map_or(0, |state| state.partitions);
        let serving = match &cluster {
            Some(state) if state.formed => Ok(()),
            _ => Err(FORMING.to_owned()),
        };
        // The view is replaced under its lock with facts read inside it, so that of two racing
        // refreshes the later one sees at least what the earlier saw.
        let mut view = self.view.write().expect(POISON);
        let facts = self.facts.read().expect(POISON);
        let leader =
            |partition: u16| facts.groups.get(&GroupId(partition + 1)).and_then(|f| f.leader);
        let leaders = (0..partitions).map(leader).collect();
        *view = Arc::new(View { node: self.node, cluster, leaders, serving });
    }
}

const FORMING: &str = "the cluster is still forming; try again in a moment";
const POISON: &str = "no thread panics while it holds the board";
