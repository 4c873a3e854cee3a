//! What a status must never say, compared with facts. A status may lag behind for a moment; what stays wrong
//! is a lie.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sight::Sight;

/// How long a status of an operator at work may lag behind the facts.
const LAG: Duration = Duration::from_secs(20);

/// Remembers since when a status has been wrong.
#[derive(Default)]
pub(super) struct Judge {
    since: BTreeMap<&'static str, Duration>,
}

impl Judge {
    /// Looks once; `now` is any clock's time, `ready` the names of the ready pods. Returns a lie in words.
    pub(super) fn look(
        &mut self,
        now: Duration,
        at_work: bool,
        sight: &Sight,
        ready: &BTreeSet<&str>,
    ) -> Option<String> {
        if sight.object["status"].is_null() {
            return None;
        }
        if let Some(lie) = contradiction(sight) {
            return Some(lie);
        }
        let wrong = differences(sight, ready);
        if !at_work {
            self.since.clear();
            return None;
        }
        self.since.retain(|rule, _| wrong.iter().any(|(wrong, _)| wrong == rule));
        wrong.into_iter().find_map(|(rule, words)| {
            let since = *self.since.entry(rule).or_insert(now);
            let lasted = now.saturating_sub(since);
            (lasted > LAG).then(|| format!("for {} s {words}", lasted.as_secs()))
        })
    }
}

/// What one and the same status must not say together.
fn contradiction(sight: &Sight) -> Option<String> {
    let (scale, rollout) = (sight.scale_phase(), sight.rollout_phase());
    if sight.is("Progressing", "False") && !["", "Idle"].contains(&scale) {
        return Some(format!("Progressing is False while the scale phase is {scale}"));
    }
    if sight.is("Progressing", "False") && rollout == "Rolling" {
        return Some("Progressing is False while a rollout is under way".to_owned());
    }
    let running = sight.word("/status/phase") == "Running";
    (running && !sight.is("Available", "True"))
        .then(|| "the phase is Running while Available is not True".to_owned())
}

/// What differs from the facts: a name for it, and words.
fn differences(sight: &Sight, ready: &BTreeSet<&str>) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let (silent, available) = (sight.facts.silent, sight.is("Available", "True"));
    if available && silent > 0 {
        wrong.push(("silent", format!("Available is True while {silent} partitions are silent")));
    }
    if !available && silent == 0 && sight.facts.cluster.is_some() {
        let words = "Available is not True while every partition answers".to_owned();
        wrong.push(("answering", words));
    }
    let (told, count) = (&sight.object["status"]["readyReplicas"], ready.len());
    if *told != count {
        wrong.push(("ready", format!("readyReplicas is {told} while {count} pods are ready")));
    }
    if !sight.is_current() {
        wrong.push(("generation", "the status speaks of an earlier spec".to_owned()));
    }
    let healthy = sight.is("Degraded", "False");
    let short = sight.cluster().map_or(0, |cluster| cluster.under_replicated);
    if healthy && short > 0 && !sight.is("Progressing", "True") {
        let words = format!("Degraded is False while {short} partitions miss a replica");
        wrong.push(("replicas", words));
    }
    let missed = sight.missed(ready);
    if healthy && !missed.is_empty() {
        let words = format!("Degraded is False while {} is not ready", missed.join(", "));
        wrong.push(("missing", words));
    }
    wrong.extend(moves(sight, short));
    wrong
}

/// What differs about replicas that move; `short` partitions miss a replica.
fn moves(sight: &Sight, short: u32) -> Vec<(&'static str, String)> {
    let Some(cluster) = sight.cluster() else { return Vec::new() };
    let mut wrong = Vec::new();
    let (moving, left) = (cluster.moving, cluster.replicas_left);
    let words = |what: &str| format!("{what} while {moving} replicas move and {left} are left");
    if sight.has_yet_to_move() {
        if sight.is("Progressing", "False") {
            wrong.push(("progressing", words("Progressing is False")));
        }
        if sight.is("Rebalancing", "False") {
            wrong.push(("rebalancing", words("Rebalancing is False")));
        }
    } else if cluster.balanced && sight.is("Rebalancing", "True") {
        wrong.push(("balanced", "Rebalancing is True while all is in balance".to_owned()));
    }
    let silent = sight.facts.silent;
    if sight.disruptions.is_some_and(|most| most > 0) && (moving > 0 || short > 0 || silent > 0) {
        let words = format!(
            "a node may be disrupted while {moving} replicas move, {short} partitions miss one and {silent} are silent"
        );
        wrong.push(("budget", words));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::traffic::watch::ClusterFacts;

    /// A cluster of three nodes, of which every one is a member that was well before.
    fn sight(conditions: [&str; 3], scale: &str, silent: u32) -> Sight {
        let kinds = ["Available", "Progressing", "Degraded"];
        let conditions: Vec<_> = kinds
            .iter()
            .zip(conditions)
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        let members = ["demo-0", "demo-1", "demo-2"].map(|name| json!({"name": name}));
        let object = json!({
            "metadata": {"generation": 1},
            "spec": {"replicas": 3},
            "status": {
                "observedGeneration": 1, "readyReplicas": 3, "scale": {"phase": scale},
                "conditions": conditions, "members": members,
            },
        });
        let mut sight = Sight { object, ..Sight::default() };
        sight.facts.silent = silent;
        sight.facts.cluster = Some(ClusterFacts::default());
        sight
    }

    /// At rest, with what the facts differ in.
    fn at_rest(change: impl FnOnce(&mut Sight, &mut ClusterFacts)) -> Sight {
        let mut sight = sight(["True", "False", "False"], "Idle", 0);
        let mut cluster = ClusterFacts { balanced: true, ..ClusterFacts::default() };
        change(&mut sight, &mut cluster);
        sight.facts.cluster = Some(cluster);
        sight
    }

    fn say_rebalancing(sight: &mut Sight, status: &str) {
        let conditions = sight.object["status"]["conditions"].as_array_mut();
        let rebalancing = json!({"type": "Rebalancing", "status": status});
        conditions.expect("there are some").push(rebalancing);
    }

    /// Looks at the same sight every second with so many pods ready; returns when it was called a lie.
    fn seconds_until_lie(sight: &Sight, ready: usize) -> Option<u64> {
        let ready = ["demo-0", "demo-1", "demo-2"].into_iter().take(ready).collect();
        let mut judge = Judge::default();
        let looks = |at: &u64| judge.look(Duration::from_secs(*at), true, sight, &ready).is_some();
        (0..60).find(looks)
    }

    #[test]
    fn a_true_status_is_never_a_lie() {
        let idle = sight(["True", "False", "False"], "Idle", 0);
        assert_eq!(seconds_until_lie(&idle, 3), None);
        let scaling = sight(["True", "True", "False"], "Joining", 0);
        assert_eq!(seconds_until_lie(&scaling, 3), None);
    }

    #[test]
    fn a_status_that_contradicts_itself_is_a_lie_at_once() {
        let draining = sight(["True", "False", "False"], "Draining", 0);
        assert_eq!(seconds_until_lie(&draining, 3), Some(0));
    }

    #[test]
    fn a_status_that_stays_behind_the_facts_becomes_a_lie() {
        for (conditions, silent, ready) in [
            (["True", "False", "False"], 8, 3),
            (["False", "False", "True"], 0, 3),
            (["True", "False", "False"], 0, 2),
        ] {
            let lie = seconds_until_lie(&sight(conditions, "Idle", silent), ready);
            assert_eq!(lie, Some(LAG.as_secs() + 1), "{conditions:?}");
        }
    }

    #[test]
    fn a_node_that_is_away_must_be_missed_unless_it_is_new_or_goes() {
        let seen = |change: fn(&mut Value)| {
            let mut sight = sight(["True", "True", "False"], "Idle", 0);
            sight.object["status"]["readyReplicas"] = json!(2);
            change(&mut sight.object);
            seconds_until_lie(&sight, 2)
        };
        assert_eq!(seen(|_| {}), Some(LAG.as_secs() + 1));
        assert_eq!(seen(|object| object["status"]["scale"]["joining"] = json!(["demo-2"])), None);
        assert_eq!(seen(|object| object["spec"]["replicas"] = json!(2)), None);
    }

    #[test]
    fn replicas_that_move_must_be_told() {
        let late = Some(LAG.as_secs() + 1);
        assert_eq!(seconds_until_lie(&at_rest(|_, cluster| cluster.moving = 1), 3), late);
        assert_eq!(seconds_until_lie(&at_rest(|_, cluster| cluster.replicas_left = 1), 3), late);
        let told = |status: &'static str, moving| {
            let mut sight = at_rest(|sight, cluster| {
                say_rebalancing(sight, status);
                cluster.moving = moving;
            });
            sight.object["status"]["conditions"][1]["status"] = json!("True");
            seconds_until_lie(&sight, 3)
        };
        assert_eq!([told("True", 1), told("False", 0)], [None, None]);
        assert_eq!([told("False", 1), told("True", 0)], [late, late]);
    }

    #[test]
    fn no_node_may_be_disrupted_while_something_is_missing_or_moves() {
        let with = |disruptions, short| {
            let mut sight = at_rest(|sight, cluster| {
                sight.disruptions = disruptions;
                cluster.under_replicated = short;
            });
            sight.object["status"]["conditions"][2]["status"] = json!("True");
            seconds_until_lie(&sight, 3)
        };
        assert_eq!([with(Some(1), 0), with(Some(0), 1), with(None, 1)], [None, None, None]);
        assert_eq!(with(Some(1), 1), Some(LAG.as_secs() + 1));
    }

    #[test]
    fn an_operator_that_is_gone_tells_no_lies() {
        let (mut judge, wrong) = (Judge::default(), sight(["True", "False", "False"], "Idle", 8));
        let ready = BTreeSet::from(["demo-0", "demo-1", "demo-2"]);
        for at in 0..60 {
            let lie = judge.look(Duration::from_secs(at), at % 15 != 0, &wrong, &ready);
            assert_eq!(lie, None, "{at}");
        }
    }
}
