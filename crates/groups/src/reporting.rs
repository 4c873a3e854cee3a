//! What the worker does by the tick: raft's clock, reports, leaders to hand over, keys to expire.

use std::collections::BTreeSet;

use flin_proto::peer::{LeaderReport, LedGroup};
use flin_state::ids::{GroupId, NodeId};
use tracing::info;

use crate::applier::Work;
use crate::balance::{TRANSFERS_PER_PASS, rightful_leader, successor};
use crate::group::{Confirmation, Group};
use crate::worker::{Fatal, Worker};

/// Ticks between two reports of what this node leads, and between two looks at who should lead.
const REPORT_TICKS: u64 = 10;
/// Ticks between two looks for keys that are due.
const SWEEP_TICKS: u64 = 10;

impl Worker {
    /// One raft tick for every group, and what is due with it.
    pub(crate) fn tick(&mut self) -> Result<(), Fatal> {
        self.tick += 1;
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in &groups {
            let context = self.fresh_context();
            let Some(hosted) = self.groups.get_mut(group) else { continue };
            hosted.replica.tick();
            hosted.give_up_reads(self.tick);
            hosted.ask_for_confirmation(context, self.tick);
        }
        for group in &groups {
            self.publish_leader(*group);
        }
        self.dirty.extend(groups);
        self.publish_readiness();
        self.drive_moves();
        if self.stepping_down {
            self.hand_over_all();
        }
        if self.tick.is_multiple_of(REPORT_TICKS) {
            self.host_what_is_placed()?;
        }
        if self.report_due || self.tick.is_multiple_of(REPORT_TICKS) {
            self.report_due = false;
            if !self.stepping_down {
                self.hand_over_to_rightful();
            }
            self.report();
        }
        if self.tick.is_multiple_of(SWEEP_TICKS) {
            let led = self
                .groups
                .iter()
                .filter(|(group, hosted)| group.partition().is_some() && hosted.leads());
            let groups = led.map(|(group, _)| *group).collect();
            self.bench.offer(Work::Sweep { groups });
        }
        Ok(())
    }

    /// Begins or ends to hand every leadership over.
    pub(crate) fn step_down(&mut self, undo: bool) {
        self.stepping_down = !undo;
        if self.stepping_down {
            info!("handing leaderships over");
            self.hand_over_all();
        }
        self.report();
    }

    fn hand_over_all(&mut self) {
        for (group, hosted) in &mut self.groups {
            if !hosted.leads() {
                continue;
            }
            let status = hosted.replica.status();
            if let Some(to) = successor(&status, &hosted.configuration, hosted.id, &self.leaving)
                && status.transferring_to.is_none()
            {
                hosted.replica.transfer_leader(to);
                self.dirty.insert(*group);
            }
        }
    }

    fn hand_over_to_rightful(&mut self) {
        let mut transfers = 0;
        let leaving = self.leaders_leaving();
        for (group, hosted) in &mut self.groups {
            if transfers == TRANSFERS_PER_PASS {
                return;
            }
            let elsewhere = hosted.preferred.filter(|preferred| *preferred != hosted.id);
            if !hosted.leads() || elsewhere.is_none() || leaving.contains(group) {
                continue;
            }
            let status = hosted.replica.status();
            if status.transferring_to.is_none()
                && let Some(to) =
                    rightful_leader(&status, &hosted.configuration, elsewhere, &self.leaving)
            {
                hosted.replica.transfer_leader(to);
                self.dirty.insert(*group);
                transfers += 1;
            }
        }
    }

    /// Pins up who leads a group, as its local replica sees it.
    pub(crate) fn publish_leader(&self, group: GroupId) {
        let Some(hosted) = self.groups.get(&group) else { return };
        let leader = hosted.replica.leader().and_then(|replica| self.node_of(group, replica));
        self.ground.board.learn(group, hosted.replica.term(), leader);
    }

    fn publish_readiness(&self) {
        let open =
            |hosted: &&Group| !hosted.is_removed() && hosted.confirmation != Confirmation::Done;
        let open = self.groups.values().filter(open).count();
        let reason = match &self.cluster {
            None => Some("the cluster's state is not known here yet".to_owned()),
            Some(state) if !state.formed => Some("the cluster is still forming".to_owned()),
            Some(_) if open > 0 => {
                Some(format!("{open} of {} replicas have yet to catch up", self.groups.len()))
            }
            Some(_) if self.stepping_down => Some("leaderships are being handed over".to_owned()),
            Some(_) => None,
        };
        self.ground.board.set_ready(reason);
        self.ground.board.set_replicas(self.groups.len());
    }

    fn report(&self) {
        let mut led = Vec::new();
        let alive = self.alive_nodes();
        for (group, hosted) in &self.groups {
            if !hosted.leads() {
                continue;
            }
            let status = hosted.replica.status();
            let healthy = status.peers.iter().filter(|peer| {
                let node = hosted.configuration.nodes.get(&peer.replica);
                peer.replica != hosted.id
                    && hosted.configuration.voters.contains(&peer.replica)
                    && peer.active
                    && peer.caught_up
                    && node.is_some_and(|node| alive.contains(node))
            });
            let votes = hosted.configuration.voters.contains(&hosted.id);
            led.push(LedGroup {
                group: u32::from(group.0),
                term: status.term.0,
                healthy: u32::try_from(healthy.count() + usize::from(votes)).unwrap_or(u32::MAX),
                replicas: u32::try_from(hosted.configuration.voters.len()).unwrap_or(u32::MAX),
                bytes: self.ground.board.estimated_bytes(*group),
                job: hosted.job,
                seats: hosted.seats(&status),
            });
        }
        let metrics = &self.ground.metrics;
        metrics.leaders.set(i64::try_from(led.len()).unwrap_or(i64::MAX));
        metrics.replicas.set(i64::try_from(self.groups.len()).unwrap_or(i64::MAX));
        metrics.log_bytes.set(i64::try_from(self.ground.log.size_bytes()).unwrap_or(i64::MAX));
        let disk = self.ground.board.disk(self.ground.board.node());
        let report = LeaderReport {
            node_id: self.ground.board.node().0,
            groups: led,
            clock_ms: self.ground.clock.now().0,
            leaving: self.stepping_down,
            disk_total_bytes: disk.total,
            disk_free_bytes: disk.free,
        };
        self.ground.board.report(report, self.ground.clock.monotonic_ms());
    }

    fn alive_nodes(&self) -> BTreeSet<NodeId> {
        let now_ms = self.ground.clock.monotonic_ms();
        let nodes = self.groups.values().flat_map(|hosted| hosted.configuration.nodes.values());
        let nodes: BTreeSet<NodeId> = nodes.copied().collect();
        nodes.into_iter().filter(|node| self.ground.board.is_alive(*node, now_ms)).collect()
    }
}
