//! The meta state machine under any sequence of events: no two replicas of a group on one node, no id twice,
//! nobody forgotten, and plans that the rules accept.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use flin_fuzz::input::Input;
use flin_state::cluster::{
    Change, ClusterState, Genesis, GenesisMember, Job, Move, Placement, Plan, RebalanceSettings,
    Sight, apply_cluster, plan_moves,
};
use flin_state::command::{Committed, Content};
use flin_state::engine::WriteBatch;
use flin_state::ids::{ClusterId, GroupId, LogIndex, NodeId, PartitionId, ReplicaId, Term};
use flin_state::keys::GroupState;
use flin_state::membership::Configuration;
use libfuzzer_sys::fuzz_target;

const ZONES: [&str; 4] = ["", "a", "b", "c"];
/// Beyond this an input says nothing new, and takes long.
const EVENTS_MAX: usize = 40;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let members = 1 + input.below(6);
    let factors: &[u8] = if members < 3 { &[1] } else { &[1, 3] };
    let mut scene = Scene::begin(genesis(&mut input, members, factors));
    let mut events = 0;
    while !input.is_empty() && events < EVENTS_MAX {
        events += 1;
        scene.happen(&mut input);
        scene.check();
    }
    let again = ClusterState::from_json(&scene.state.to_json()).expect("it was just written");
    assert_eq!(again, scene.state);
});

fn genesis(input: &mut Input<'_>, members: usize, factors: &[u8]) -> Genesis {
    let member = |id: u64| GenesisMember {
        name: format!("n{id}"),
        node_id: NodeId(id),
        peer_address: format!("n{id}:6383"),
        client_address: format!("n{id}:6384"),
        zone: (*input.choose(&ZONES)).to_owned(),
    };
    let members = (1..=members as u64).map(member).collect();
    let (replication_factor, partitions) = (*input.choose(factors), 1 + input.below(8) as u16);
    Genesis { cluster_id: ClusterId(7), partitions, replication_factor, members }
}

struct Scene {
    group: GroupState,
    state: ClusterState,
    /// Every replica ever seen, with its group and node.
    born: BTreeMap<ReplicaId, (GroupId, NodeId)>,
}

impl Scene {
    fn begin(genesis: Genesis) -> Self {
        let state = genesis.begin().expect("a genesis within the rules");
        let group = GroupState::initial(Configuration::default());
        let mut scene = Scene { group, state, born: BTreeMap::new() };
        scene.change(Change::ConfirmFormed { cluster_id: ClusterId(7) });
        scene
    }

    /// Has the change applied; whether it was accepted.
    fn change(&mut self, change: Change) -> bool {
        let mut cluster = Some(self.state.clone());
        let index = LogIndex(self.group.applied.0 + 1);
        let entry = Committed { index, term: Term(6), content: Content::Command(change) };
        let batch = &mut WriteBatch::default();
        let answers = apply_cluster(&mut self.group, &mut cluster, &[entry], batch);
        let state = cluster.expect("a cluster does not vanish");
        let accepted = answers.iter().all(Result::is_ok);
        assert!(accepted || state == self.state, "{answers:?} left a trace");
        assert_eq!(state.revision, self.state.revision + u64::from(state != self.state));
        assert!(state.next_node_id >= self.state.next_node_id);
        assert!(state.next_replica_id >= self.state.next_replica_id);
        self.state = state;
        accepted
    }

    fn happen(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0 => self.join(input),
            1 | 2 => {
                let nodes = (0..input.below(4)).map(|_| self.node(input)).collect();
                self.change(Change::SetDraining { nodes });
            }
            3 => {
                let node = self.node(input);
                self.change(Change::SetLost { node, lost: input.flag() });
            }
            4 => {
                let node = self.node(input);
                self.change(Change::RemoveMember { node });
            }
            5 => {
                let replication_factor = *input.choose(&[1, 3, 5, 0, 2]);
                self.change(Change::SetReplicationFactor { replication_factor });
            }
            6 => {
                let max_moves = input.below(6) as u32;
                let settings = RebalanceSettings {
                    paused: input.flag(),
                    max_moves,
                    ..RebalanceSettings::default()
                };
                self.change(Change::SetRebalance { settings });
            }
            7 => self.accept_loss(input),
            8 => self.move_something(input),
            9..12 => self.follow(),
            _ => self.end_a_job(input),
        }
    }

    fn join(&mut self, input: &mut Input<'_>) {
        let id = self.state.next_node_id.0;
        // A name that is there already takes it over.
        let name = if input.below(4) == 0 { self.node(input).0 } else { id };
        self.change(Change::Join {
            nonce: format!("00000000-0000-0000-0000-{id:012}"),
            name: format!("n{name}"),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: (*input.choose(&ZONES)).to_owned(),
        });
    }

    /// A node, mostly one that is there.
    fn node(&self, input: &mut Input<'_>) -> NodeId {
        NodeId(1 + input.below(self.state.next_node_id.0 as usize) as u64)
    }

    fn accept_loss(&mut self, input: &mut Input<'_>) {
        let gone: BTreeSet<_> = (0..1 + input.below(3)).map(|_| self.node(input)).collect();
        let heir = self.node(input);
        let only_there = |group: &GroupId| {
            self.state.replicas_of(*group).iter().all(|placed| gone.contains(&placed.node))
        };
        let empty = self.state.groups().filter(only_there).map(|group| (group, heir)).collect();
        self.change(Change::AcceptLoss { gone, empty });
    }

    /// A move that nobody planned; the rules say whether it can be.
    fn move_something(&mut self, input: &mut Input<'_>) {
        let group = GroupId(input.below(usize::from(self.state.partitions) + 2) as u16);
        let add = input.flag().then(|| self.node(input));
        let placed = self.state.replicas_of(group);
        let chosen = placed.get(input.below(5)).map(|placed| placed.replica);
        let moves = vec![Move { group, add, remove: chosen.filter(|_| input.flag()) }];
        let based_on = self.state.revision;
        self.change(Change::StartMoves { based_on, moves });
    }

    /// Does what the plan says, all of which the rules accept.
    fn follow(&mut self) {
        let Plan { moves, undo, leaders, .. } = plan_moves(&self.state, &Sight::default());
        let based_on = self.state.revision;
        assert!(self.change(Change::StartMoves { based_on, moves: moves.clone() }), "{moves:?}");
        for (group, job) in undo {
            assert!(self.change(Change::UndoMove { group, job }));
        }
        let based_on = self.state.revision;
        assert!(self.change(Change::PreferLeaders { based_on, leaders }));
    }

    fn end_a_job(&mut self, input: &mut Input<'_>) {
        let jobs: Vec<(GroupId, Job)> = self.state.jobs.iter().map(|(g, j)| (*g, *j)).collect();
        if jobs.is_empty() {
            return;
        }
        let (group, job) = *input.choose(&jobs);
        let (undone, stale) = (job.undo && input.flag(), input.below(8) == 0);
        let id = if stale { job.id + 1 } else { job.id };
        assert!(self.change(Change::FinishMove { group, job: id, undone, bytes: 10 }));
        assert_eq!(self.state.jobs.contains_key(&group), stale);
    }

    fn check(&mut self) {
        let state = &self.state;
        assert_eq!(state.placement.len(), usize::from(state.partitions));
        for group in state.groups() {
            let job = state.jobs.get(&group);
            let replicas = state.replicas_of(group);
            let named: Vec<Placement> =
                replicas.iter().copied().chain(job.and_then(|job| job.add)).collect();
            let nodes: BTreeSet<NodeId> = named.iter().map(|placed| placed.node).collect();
            assert_eq!(nodes.len(), named.len(), "group {group}: {named:?}");
            assert!(!replicas.is_empty(), "group {group} has no replica");
            assert!(nodes.iter().all(|node| state.members.contains_key(node)), "{named:?}");
            for placed in named {
                assert!(placed.replica < state.next_replica_id);
                let home = (group, placed.node);
                assert_eq!(*self.born.entry(placed.replica).or_insert(home), home, "{placed:?}");
                assert_eq!(state.node_of(group, placed.replica), Some(placed.node));
                let birth = state.birth_configuration(group, placed.replica);
                assert!(birth.is_none_or(|first| first.voters.contains(&placed.replica)));
            }
        }
        let beyond = PartitionId(state.partitions).group();
        assert!(state.jobs.keys().all(|group| *group < beyond));
    }
}
