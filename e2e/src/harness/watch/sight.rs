//! One look at a FlinCluster: what its status says, and the facts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::flincluster::{condition, summary};
use crate::traffic::watch::{ClusterFacts, Facts};

/// What is there at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// The FlinCluster: its generation, spec and status. Null before it was seen.
    pub(crate) object: Value,
    /// How many nodes its PodDisruptionBudget lets go at a time; none while there is no budget.
    pub(crate) disruptions: Option<i32>,
    pub(crate) facts: Facts,
}

/// The phases that a status showed from some moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    /// When they were first seen, microseconds since 1970.
    pub(crate) at_us: u64,
    /// `status.phase`.
    pub(crate) phase: String,
    /// `status.scale.phase`.
    pub(crate) scale: String,
    /// `status.rollout.phase`.
    pub(crate) rollout: String,
}

impl Sight {
    /// A word of the object, by its pointer; empty when it is not there.
    pub(crate) fn word(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// `status.scale.phase`.
    pub(crate) fn scale_phase(&self) -> &str {
        self.word("/status/scale/phase")
    }

    /// `status.rollout.phase`.
    pub(crate) fn rollout_phase(&self) -> &str {
        self.word("/status/rollout/phase")
    }

    /// The message of a condition.
    pub(crate) fn message(&self, kind: &str) -> &str {
        condition(&self.object, kind)["message"].as_str().unwrap_or_default()
    }

    /// Whether a condition has this status.
    pub(crate) fn is(&self, kind: &str, status: &str) -> bool {
        condition(&self.object, kind)["status"] == status
    }

    /// Whether the status speaks of the present generation of the spec.
    pub(crate) fn is_current(&self) -> bool {
        let observed = &self.object["status"]["observedGeneration"];
        observed.is_i64() && *observed == self.object["metadata"]["generation"]
    }

    /// What the cluster says about itself.
    pub(crate) fn cluster(&self) -> Option<&ClusterFacts> {
        self.facts.cluster.as_ref()
    }

    /// Whether replicas are being moved at this moment.
    pub(crate) fn is_moving(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.moving > 0)
    }

    /// Whether the wish is fulfilled: so many nodes, all of them there and in balance, nothing under way, and
    /// a status that says so.
    pub(crate) fn is_settled(&self, nodes: u32) -> bool {
        let status = &self.object["status"];
        let told = self.is_current()
            && status["phase"] == "Running"
            && [self.scale_phase(), self.rollout_phase()].iter().all(|p| ["", "Idle"].contains(p))
            && status["replicas"] == nodes
            && status["readyReplicas"] == nodes
            && self.is("Available", "True")
            && self.is("Progressing", "False")
            && self.is("Degraded", "False")
            && self.is("Rebalancing", "False")
            && self.spread("replicas").is_some_and(|(count, spread)| count == nodes && spread <= 1)
            && self.spread("leaders").is_some_and(|(_, spread)| spread <= 1);
        told && self.cluster().is_some_and(|cluster| {
            cluster.balanced
                && cluster.moving == 0
                && cluster.replicas_left == 0
                && cluster.under_replicated == 0
                && cluster.members.len() == nodes as usize
        })
    }

    /// How many members the status shows, and how far apart the largest and the smallest are in a field.
    pub(crate) fn spread(&self, field: &str) -> Option<(u32, i64)> {
        let members = self.object.pointer("/status/members")?.as_array()?;
        let counts: Vec<i64> = members.iter().filter_map(|member| member[field].as_i64()).collect();
        let spread = counts.iter().max()? - counts.iter().min()?;
        Some((u32::try_from(counts.len()).ok()?, spread))
    }

    /// Whether replicas are moved, or have yet to be.
    pub(super) fn has_yet_to_move(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.moving > 0 || cluster.replicas_left > 0)
    }

    /// The nodes that the status shows, that should be there and well, and are not among `ready`: those within the
    /// number asked for that have been well before.
    pub(super) fn missed(&self, ready: &BTreeSet<&str>) -> Vec<&str> {
        let names = |pointer: &str| self.object.pointer(pointer).and_then(Value::as_array);
        let joining: Vec<_> = names("/status/scale/joining").into_iter().flatten().collect();
        let members = names("/status/members").into_iter().flatten();
        let wanted = self.object["spec"]["replicas"].as_u64().unwrap_or_default();
        let should_be = |name: &&str| {
            let ordinal = name.rsplit('-').next().and_then(|ordinal| ordinal.parse::<u64>().ok());
            ordinal.is_some_and(|ordinal| ordinal < wanted)
                && joining.iter().all(|newcomer| **newcomer != **name)
                && !ready.contains(*name)
        };
        members.filter_map(|member| member["name"].as_str()).filter(should_be).collect()
    }

    /// Everything in a few lines.
    pub(crate) fn words(&self) -> String {
        format!(
            "{}; {}; scale {}, rollout {}\n  facts: {}",
            summary(&self.object),
            self.disruptions.map_or("no budget".to_owned(), |most| format!("{most} may go")),
            self.object["status"]["scale"],
            self.object["status"]["rollout"],
            self.facts.words()
        )
    }
}

impl Passed {
    /// The phases of an object.
    pub(super) fn of(at_us: u64, object: &Value) -> Self {
        let word = |pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Self {
            at_us,
            phase: word("/status/phase"),
            scale: word("/status/scale/phase"),
            rollout: word("/status/rollout/phase"),
        }
    }

    /// Whether the phases are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.phase, &self.scale, &self.rollout) == (&other.phase, &other.scale, &other.rollout)
    }

    /// Whether some of `all` show these phases of a scale, in this order.
    pub(crate) fn shows_scale(all: &[Self], phases: &[&str]) -> bool {
        let mut passed = all.iter();
        phases.iter().all(|phase| passed.any(|passed| passed.scale == *phase))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passed(scale: &[&str]) -> Vec<Passed> {
        let of = |phase: &&str| Passed::of(0, &json!({"status": {"scale": {"phase": phase}}}));
        scale.iter().map(of).collect()
    }

    #[test]
    fn phases_are_looked_for_in_their_order() {
        let all = passed(&["Idle", "Joining", "Rebalancing", "Idle"]);
        assert!(Passed::shows_scale(&all, &["Joining", "Rebalancing"]));
        assert!(!Passed::shows_scale(&all, &["Rebalancing", "Joining"]));
        assert!(!Passed::shows_scale(&all, &["Draining"]));
    }

    fn settled() -> Sight {
        let condition = |kind, status| json!({"type": kind, "status": status});
        let member = |leaders| json!({"name": "a", "replicas": 8, "leaders": leaders});
        let object = json!({
            "metadata": {"generation": 2},
            "status": {
                "observedGeneration": 2, "phase": "Running", "replicas": 3, "readyReplicas": 3,
                "scale": {"phase": "Idle"},
                "conditions": [
                    condition("Available", "True"), condition("Progressing", "False"),
                    condition("Degraded", "False"), condition("Rebalancing", "False"),
                ],
                "members": [member(3), member(3), member(2)],
            },
        });
        let members = vec![crate::traffic::watch::MemberFacts::default(); 3];
        let cluster = ClusterFacts { balanced: true, members, ..ClusterFacts::default() };
        let facts = Facts { cluster: Some(cluster), ..Facts::default() };
        Sight { object, facts, ..Sight::default() }
    }

    #[test]
    fn a_wish_is_fulfilled_when_status_and_facts_say_so() {
        assert!(settled().is_settled(3));
        assert!(!settled().is_settled(4));
        for (pointer, value) in [
            ("/metadata/generation", json!(3)),
            ("/status/phase", json!("Scaling")),
            ("/status/scale/phase", json!("Removing")),
            ("/status/members/2/leaders", json!(1)),
            ("/status/conditions/1/status", json!("True")),
            ("/status/conditions/3/status", json!("True")),
        ] {
            let mut sight = settled();
            *sight.object.pointer_mut(pointer).expect("it is there") = value;
            assert!(!sight.is_settled(3), "{pointer}");
        }
        let mut sight = settled();
        sight.facts.cluster.as_mut().expect("it is there").replicas_left = 1;
        assert!(!sight.is_settled(3));
    }
}
