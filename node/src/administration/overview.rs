//! The cluster as this node sees it: the meta state, beside what leaders and nodes said of themselves.

use flin_groups::board::{Board, Leadership, SILENCE_MS_MAX};
use flin_groups::rebalance::RebalanceMetrics;
use flin_groups::rebalance::sight;
use flin_proto::admin::member::State;
use flin_proto::admin::{Cluster, Member, Partition, Rebalance, RebalanceSettings};
use flin_state::cluster::{self, ClusterState, MemberState, plan_moves};
use flin_state::ids::{GroupId, NodeId, PartitionId};
use flin_state::slot::slots_of;

/// What is to be told of the cluster at one moment.
#[derive(Clone, Copy)]
pub(super) struct Overview<'a> {
    pub(super) board: &'a Board,
    pub(super) state: &'a ClusterState,
    pub(super) now_ms: u64,
}

impl Overview<'_> {
    /// The cluster with all its members.
    pub(super) fn cluster(&self, metrics: &RebalanceMetrics) -> Cluster {
        let state = self.state;
        let meta = self.board.leadership(GroupId::META);
        Cluster {
            cluster_id: state.cluster_id.to_string(),
            formed: state.formed,
            partitions: u32::from(state.partitions),
            replication_factor: u32::from(state.replication_factor),
            revision: state.revision,
            under_replicated: count(self.groups().filter(|group| !self.is_full(*group))),
            leaderless: self.leaderless(),
            members: state.members.iter().map(|(node, known)| self.member(*node, known)).collect(),
            meta_leader: meta.leader.map_or(0, |node| node.0),
            rebalance: Some(self.rebalance(metrics)),
            meta_led: self.is_led(&meta),
        }
    }

    /// Every partition, in order.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        (0..self.state.partitions).map(|partition| self.partition(PartitionId(partition))).collect()
    }

    /// How many partitions have no leader that was heard of lately.
    pub(super) fn leaderless(&self) -> u32 {
        count(self.groups().filter(|group| !self.is_led(&self.board.leadership(*group))))
    }

    fn member(&self, node: NodeId, member: &cluster::Member) -> Member {
        let holds = |group: &GroupId| self.state.replicas_of(*group).iter().any(|p| p.node == node);
        let leads = |group: &GroupId| {
            let known = self.board.leadership(*group);
            self.is_led(&known) && known.leader == Some(node)
        };
        let held = self.state.groups().filter(holds);
        let disk = self.board.disk(node);
        Member {
            node_id: node.0,
            name: member.name.clone(),
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            alive: self.board.is_alive(node, self.now_ms),
            replicas: count(self.groups().filter(holds)),
            leaders: count(self.groups().filter(leads)),
            state: i32::from(match member.state {
                MemberState::Serving => State::Serving,
                MemberState::Draining => State::Draining,
                MemberState::Lost => State::Lost,
                MemberState::Replaced => State::Replaced,
            }),
            zone: member.zone.clone(),
            holds: self.state.holds(node),
            disk_total_bytes: disk.total,
            disk_free_bytes: disk.free,
            data_bytes: held.map(|group| self.board.leadership(group).bytes).sum(),
        }
    }

    fn partition(&self, partition: PartitionId) -> Partition {
        let group = partition.group();
        let known = self.board.leadership(group);
        let slots = slots_of(partition, self.state.partitions);
        let led = self.is_led(&known);
        let job = self.state.jobs.get(&group);
        let node = |end: Option<cluster::Placement>| end.map_or(0, |placement| placement.node.0);
        Partition {
            partition: u32::from(partition.0),
            first_slot: u32::from(slots.start),
            last_slot: u32::from(slots.end - 1),
            leader: known.leader.filter(|_| led).map_or(0, |node| node.0),
            term: known.term.0,
            nodes: self.state.replicas_of(group).iter().map(|p| p.node.0).collect(),
            healthy: if led { known.healthy } else { 0 },
            bytes: known.bytes,
            adding: job.map_or(0, |job| node(job.add)),
            removing: job.map_or(0, |job| node(job.remove)),
        }
    }

    fn rebalance(&self, metrics: &RebalanceMetrics) -> Rebalance {
        let state = self.state;
        let plan = plan_moves(state, &sight(self.board, state));
        let settings = state.rebalance;
        Rebalance {
            settings: Some(RebalanceSettings {
                paused: settings.paused,
                max_moves: settings.max_moves,
                bytes_per_second: settings.bytes_per_second,
                replace_after_seconds: settings.replace_after_seconds,
            }),
            moving: count(state.jobs.iter()),
            replicas_left: plan.replicas_left,
            bytes_left: plan.bytes_left,
            replicas_moved: state.moved.replicas,
            bytes_moved: state.moved.bytes,
            seconds_left: metrics.seconds_left(state, &plan, self.now_ms),
            blocked: plan.blocked.unwrap_or_default(),
            balanced: plan.balanced,
        }
    }

    /// The groups of all partitions, without the meta group.
    fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        self.state.groups().skip(1)
    }

    /// Whether a leader said lately that it leads.
    fn is_led(&self, known: &Leadership) -> bool {
        let lately = |at: u64| self.now_ms.saturating_sub(at) <= SILENCE_MS_MAX;
        known.leader.is_some() && known.reported_ms.is_some_and(lately)
    }

    /// Whether a group has as many voters as it should, all alive and caught up.
    fn is_full(&self, group: GroupId) -> bool {
        let known = self.board.leadership(group);
        let wanted = u32::from(self.state.replication_factor);
        self.is_led(&known) && known.replicas.min(known.healthy) >= wanted
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flin_proto::peer::{LeaderReport, LedGroup};
    use flin_state::cluster::{Genesis, GenesisMember, Job, Placement};
    use flin_state::ids::{ClusterId, ReplicaId};

    use super::*;
    use crate::metrics::Metrics;

    const NOW_MS: u64 = 100_000;

    /// Four nodes, 8 partitions of 3 replicas.
    fn state() -> ClusterState {
        let member = |id: u64| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:1"),
            client_address: format!("n{id}:2"),
            zone: format!("z{id}"),
        };
        let members = (1..=4).map(member).collect();
        let (cluster_id, partitions, replication_factor) = (ClusterId(7), 8, 3);
        Genesis { cluster_id, partitions, replication_factor, members }.begin().unwrap()
    }

    fn led(group: GroupId) -> LedGroup {
        let group = u32::from(group.0);
        LedGroup { group, term: 6, healthy: 3, replicas: 3, bytes: 100, ..Default::default() }
    }

    /// The board of node 1 in a cluster whose groups are all led as they should be, but for what `change` says
    /// of one.
    fn board(state: &ClusterState, change: impl Fn(&mut LedGroup)) -> Arc<Board> {
        let board = Board::new(NodeId(1));
        for node in state.members.keys() {
            let led_here = |group: &GroupId| state.preferred_leader(*group) == Some(*node);
            let mut groups: Vec<_> = state.groups().filter(led_here).map(led).collect();
            groups.iter_mut().for_each(&change);
            let report = LeaderReport { node_id: node.0, groups, ..Default::default() };
            board.hear(&report, NOW_MS);
        }
        board
    }

    fn cluster(board: &Board, state: &ClusterState, now_ms: u64) -> Cluster {
        Overview { board, state, now_ms }.cluster(&Metrics::new().rebalance)
    }

    fn of_group(group: GroupId, change: impl Fn(&mut LedGroup)) -> impl Fn(&mut LedGroup) {
        move |led| {
            if led.group == u32::from(group.0) {
                change(led);
            }
        }
    }

    #[test]
    fn a_partition_is_short_of_replicas_when_too_few_vote_or_live() {
        let state = state();
        let short = |change: fn(&mut LedGroup)| {
            let board = board(&state, of_group(GroupId(3), change));
            let cluster = cluster(&board, &state, NOW_MS);
            (cluster.under_replicated, cluster.leaderless, cluster.meta_led)
        };
        assert_eq!(short(|_| {}), (0, 0, true));
        assert_eq!(short(|led| led.healthy = 2), (1, 0, true));
        assert_eq!(short(|led| led.replicas = 1), (1, 0, true));
    }

    #[test]
    fn what_was_said_too_long_ago_is_no_leadership() {
        let state = state();
        let board = board(&state, |_| {});
        let at = |now_ms| cluster(&board, &state, now_ms);
        let last = at(NOW_MS + SILENCE_MS_MAX);
        assert_eq!((last.leaderless, last.meta_led), (0, true));
        let late = at(NOW_MS + SILENCE_MS_MAX + 1);
        assert_eq!((late.leaderless, late.under_replicated, late.meta_led), (8, 8, false));
        let alive: Vec<_> = late.members.iter().map(|member| member.alive).collect();
        assert_eq!(alive, [true, false, false, false], "only the node itself");
    }

    #[test]
    fn a_move_counts_at_both_ends_until_it_is_done() {
        let mut state = state();
        let group = GroupId(3);
        let there: Vec<_> = state.replicas_of(group).to_vec();
        let free = (1..=4).map(NodeId).find(|node| there.iter().all(|p| p.node != *node)).unwrap();
        let before = cluster(&board(&state, |_| {}), &state, NOW_MS);
        let add = Some(Placement { replica: ReplicaId(999), node: free });
        state.jobs.insert(group, Job { id: 1, add, remove: Some(there[0]), undo: false });
        let board = board(&state, |_| {});
        let after = cluster(&board, &state, NOW_MS);

        let of = |cluster: &Cluster, node: NodeId| {
            let member = cluster.members.iter().find(|m| m.node_id == node.0).unwrap();
            (member.replicas, member.holds, member.data_bytes)
        };
        let (replicas, holds, data_bytes) = of(&before, free);
        assert_eq!(of(&after, free), (replicas, holds + 1, data_bytes));
        assert_eq!(of(&after, there[0].node), of(&before, there[0].node));
        assert_eq!(after.rebalance.unwrap().moving, 1);
        let partitions = Overview { board: &board, state: &state, now_ms: NOW_MS }.partitions();
        let moving = &partitions[2];
        assert_eq!((moving.adding, moving.removing), (free.0, there[0].node.0));
        assert_eq!((moving.bytes, moving.healthy, moving.nodes.len()), (100, 3, 3));
        assert_eq!((partitions[0].adding, partitions[0].removing), (0, 0));
    }

    #[test]
    fn members_are_described_with_what_they_hold() {
        let mut state = state();
        state.members.get_mut(&NodeId(2)).unwrap().state = MemberState::Draining;
        let board = board(&state, |_| {});
        let report = LeaderReport {
            node_id: 2,
            disk_total_bytes: 1_000,
            disk_free_bytes: 400,
            ..Default::default()
        };
        board.hear(&report, NOW_MS);
        let cluster = cluster(&board, &state, NOW_MS);
        let member = &cluster.members[1];
        assert_eq!((member.state(), member.zone.as_str()), (State::Draining, "z2"));
        assert_eq!((member.disk_total_bytes, member.disk_free_bytes), (1_000, 400));
        assert_eq!(member.data_bytes, u64::from(member.holds) * 100);
        let replicas: u32 = cluster.members.iter().map(|member| member.replicas).sum();
        let leaders: u32 = cluster.members.iter().map(|member| member.leaders).sum();
        assert_eq!((replicas, leaders), (24, 8));
    }
}
