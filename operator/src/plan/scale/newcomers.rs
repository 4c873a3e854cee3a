//! Nodes that start for the first time: awaited, and not missed, until each has been well once.

use super::{Facts, named, pods};
use crate::nodes::{MemberState, Report};
use crate::observe::Pod;

/// The newcomers among the nodes that there should be, by name in the order of their ordinals.
pub(super) struct Newcomers {
    /// Those that are no members yet.
    joining: Vec<String>,
    /// Those, and members since then that were not yet ready and heard of at the same time.
    all: Vec<String>,
}

impl Newcomers {
    /// Finds them among the first `count` nodes. Who is a member is one only if that is on record: a node that
    /// was well once and is not any more is missing.
    pub(super) fn find(facts: &Facts<'_>, report: &Report, count: u32) -> Self {
        let member = |name: &String| {
            let mut members = report.members.iter();
            members.find(|member| member.name == *name && member.state != MemberState::Replaced)
        };
        let is_well = |name: &String| {
            let is_ready = facts.pods.iter().any(|pod| pod.name == *name && pod.ready);
            is_ready && member(name).is_some_and(|member| member.alive)
        };
        let is_joining = |name: &String| member(name).is_none();
        let is_starting = |name: &String| facts.prior.joining.contains(name) && !is_well(name);
        let joining = pods(facts.cluster, count).filter(is_joining).collect();
        let all = pods(facts.cluster, count)
            .filter(|name| is_joining(name) || is_starting(name))
            .collect();
        Self { joining, all }
    }

    /// Whether some are no members yet.
    pub(super) fn are_joining(&self) -> bool {
        !self.joining.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.all.iter().any(|newcomer| newcomer == name)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.all
    }

    /// What is waited for, in words.
    pub(super) fn awaited(&self, there: &[Pod]) -> String {
        let (awaited, what) = match (self.are_joining(), self.is_empty()) {
            (true, _) => (&self.joining, "join"),
            (false, false) => (&self.all, "be ready"),
            (false, true) => return "waiting for every member to be heard of".to_owned(),
        };
        let names: Vec<_> = awaited.iter().map(String::as_str).collect();
        let stuck = there.iter().find_map(|pod| {
            let reason = pod.waits_for.as_deref().filter(|_| self.all.contains(&pod.name))?;
            Some(format!("; {} waits: {reason}", pod.name))
        });
        format!("waiting for {} to {what}{}", named(&names), stuck.unwrap_or_default())
    }
}
