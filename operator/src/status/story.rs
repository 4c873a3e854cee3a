//! The story of a change, told from one status to the next: who came, who went, what moves, what is restarted.

use std::collections::BTreeMap;

use flin_crds::{
    BootstrapPhase, FlinClusterStatus, Phase, RolloutPhase, RolloutStatus, RolloutStep, ScalePhase,
    ScaleStatus, reason,
};

use super::events::{Happening, cut};
use crate::units::replicas;

/// What happened to the scale, the members and the pods between two statuses.
pub(super) fn tell(old: &FlinClusterStatus, new: &FlinClusterStatus) -> Vec<Happening> {
    let mut story = Vec::new();
    let (before, after) = (scale_of(old), scale_of(new));
    let (came, went) = members_come_and_go(old, new);
    story.extend(scale_begins(&before, &after));
    story.extend(came);
    story.extend(drained(&before, &after, !went.is_empty()));
    story.extend(went);
    story.extend(scale_goes_on(&before, &after));
    let (before, after) =
        (old.rollout.clone().unwrap_or_default(), new.rollout.clone().unwrap_or_default());
    // What pods a cluster begins with is no rollout.
    if old.phase.is_some_and(|phase| phase != Phase::Pending) {
        story.extend(rollout(&before, &after));
    }
    story
}

fn scale_of(status: &FlinClusterStatus) -> ScaleStatus {
    status.scale.clone().unwrap_or_default()
}

/// An event about the change `of`. Kubernetes takes events of one reason and action for repetitions: each
/// change has an action of its own.
fn of_scale(of: &ScaleStatus, reason: &str, note: String) -> Happening {
    let (from, to) = (of.from.unwrap_or_default(), of.to.unwrap_or_default());
    Happening::normal(reason, note).about(format!("Scale{from}To{to}"))
}

fn scale_begins(old: &ScaleStatus, new: &ScaleStatus) -> Option<Happening> {
    let (from, to) = (new.from?, new.to?);
    let say = |reason: &str, note: String| Some(of_scale(new, reason, note));
    if old.phase == ScalePhase::Idle {
        return match to - from {
            0 => {
                let note = "each partition gets as many replicas as the spec asks".to_owned();
                say("ReplicationFactorChangeStarted", note)
            }
            1.. => say("ScaleUpStarted", format!("from {from} to {to} nodes")),
            _ => say("ScaleDownStarted", format!("from {from} to {to} nodes")),
        };
    }
    let before = old.to.filter(|before| *before != to)?;
    let note = format!("{to} nodes are asked for now, no longer {before}");
    let was_up = before > old.from?;
    let turns = if was_up { to < before } else { to > before };
    if turns { say("ScaleReversed", note) } else { say("ScaleChanged", note) }
}

fn scale_goes_on(old: &ScaleStatus, new: &ScaleStatus) -> Vec<Happening> {
    if old.phase == new.phase {
        return Vec::new();
    }
    let mut told = Vec::new();
    let ended = new.phase == ScalePhase::Idle;
    match new.phase {
        ScalePhase::Rebalancing => {
            let note = with_amount("every node gets its share of replicas and leaders", new);
            told.push(of_scale(new, "RebalanceStarted", note));
        }
        ScalePhase::Draining => {
            let note = with_amount("the nodes that go hand their replicas to those that stay", new);
            told.push(of_scale(new, "DrainStarted", note));
        }
        _ => {}
    }
    if old.phase == ScalePhase::Rebalancing && ended {
        let note = "every node has its share of replicas and leaders".to_owned();
        told.push(of_scale(old, "Balanced", note));
    }
    if let (true, Some(from), Some(to)) = (ended, old.from, old.to) {
        let (reason, note) = match to - from {
            0 => ("ScaleFinished", format!("there are {to} nodes, as before")),
            1.. => ("ScaleUpFinished", format!("there are {to} nodes")),
            _ => ("ScaleDownFinished", format!("there are {to} nodes")),
        };
        told.push(of_scale(old, reason, note));
    }
    told
}

/// The words, and how much there is to move once that is known: before the balancer has planned, it is not.
fn with_amount(words: &str, scale: &ScaleStatus) -> String {
    let number = |left: Option<i64>| left.and_then(|left| u64::try_from(left).ok()).unwrap_or(0);
    match number(scale.replicas_left) {
        0 => words.to_owned(),
        left => format!("{words}: {} to move", replicas(left, number(scale.bytes_left))),
    }
}

/// The end of a drain; a drain taken back has none. `some_went`: members are gone since, which only empty ones
/// can be.
fn drained(old: &ScaleStatus, new: &ScaleStatus, some_went: bool) -> Option<Happening> {
    let is_over = new.phase != ScalePhase::Draining && old.phase == ScalePhase::Draining;
    let is_done = some_went || matches!(new.phase, ScalePhase::Removing | ScalePhase::Shrinking);
    // At the end of the change only what was before tells which change it was.
    let of = if new.to.is_some() { new } else { old };
    (is_over && is_done)
        .then(|| of_scale(of, "Drained", "the nodes that go hold nothing any more".to_owned()))
}

/// Who has become a member, and who is none any more.
fn members_come_and_go(
    old: &FlinClusterStatus,
    new: &FlinClusterStatus,
) -> (Vec<Happening>, Vec<Happening>) {
    let is_formed = |status: &FlinClusterStatus| {
        let bootstrap = status.bootstrap.as_ref();
        bootstrap.is_some_and(|bootstrap| bootstrap.phase == BootstrapPhase::Formed)
            && !matches!(status.phase, None | Some(Phase::Pending | Phase::Forming))
    };
    if !is_formed(old) || !is_formed(new) {
        return (Vec::new(), Vec::new());
    }
    let ids = |status: &FlinClusterStatus| -> BTreeMap<String, i64> {
        let members = status.members.iter();
        members.filter_map(|member| Some((member.name.clone(), member.node_id?))).collect()
    };
    let (before, after) = (ids(old), ids(new));
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for (name, id) in &after {
        let happening = match before.get(name) {
            None => Happening::normal("NodeJoined", format!("{name} is a member, node {id}")),
            Some(earlier) if earlier != id => Happening::normal(
                "NodeReplaced",
                format!(
                    "{name} came with an empty disk: node {id} takes the place of node {earlier}"
                ),
            ),
            Some(_) => continue,
        };
        came.push(happening.on(name));
    }
    for (name, id) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        let note = format!("{name} is no member any more, it was node {id}");
        went.push(Happening::normal("NodeRemoved", note).on(name));
    }
    (came, went)
}

fn rollout(old: &RolloutStatus, new: &RolloutStatus) -> Vec<Happening> {
    let mut told = Vec::new();
    let begun = old.phase == RolloutPhase::Idle && new.phase != RolloutPhase::Idle;
    if begun {
        let left = new.total - new.updated;
        let note = format!("{left} of {} nodes are to be restarted, one at a time", new.total);
        told.push(Happening::normal("RolloutStarted", note));
    }
    if let Some(name) = &old.current
        && old.step == Some(RolloutStep::Restarting)
        && (new.current.as_ref() != Some(name) || new.step == Some(RolloutStep::HandingOver))
    {
        let note = format!("{name} was restarted and serves again");
        told.push(Happening::normal("NodeRestarted", note).on(name));
    }
    let words = || cut(new.message.as_deref().unwrap_or_default());
    match (old.phase, new.phase) {
        (_, same) if same == old.phase => {}
        (_, RolloutPhase::Blocked) => {
            let blocked = Happening::warning(reason::ROLLOUT_BLOCKED, words());
            told.push(match &new.current {
                Some(name) => blocked.on(name),
                None => blocked,
            });
        }
        (RolloutPhase::Blocked, RolloutPhase::Rolling) => {
            told.push(Happening::normal("RolloutResumed", words()));
        }
        (_, RolloutPhase::Idle) => {
            let note = format!("all {} nodes are as the spec asks", new.total);
            told.push(Happening::normal("RolloutFinished", note));
        }
        _ => {}
    }
    told
}
