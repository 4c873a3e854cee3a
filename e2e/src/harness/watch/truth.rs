//! What a status must never say, compared with facts. A status may lag behind for a moment; what stays wrong
//! is a lie.

use std::collections::BTreeMap;
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
    /// Looks once; `now` is any clock's time, `ready` the number of ready pods. Returns a lie in words.
    pub(super) fn look(
        &mut self,
        now: Duration,
        at_work: bool,
        sight: &Sight,
        ready: usize,
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
fn differences(sight: &Sight, ready: usize) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let (silent, available) = (sight.facts.silent, sight.is("Available", "True"));
    if available && silent > 0 {
        wrong.push(("silent", format!("Available is True while {silent} partitions are silent")));
    }
    if !available && silent == 0 && sight.facts.cluster.is_some() {
        let words = "Available is not True while every partition answers".to_owned();
        wrong.push(("answering", words));
    }
    let told = &sight.object["status"]["readyReplicas"];
    if *told != ready {
        wrong.push(("ready", format!("readyReplicas is {told} while {ready} pods are ready")));
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
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sight(conditions: [&str; 3], scale: &str, silent: u32) -> Sight {
        let kinds = ["Available", "Progressing", "Degraded"];
        let conditions: Vec<_> = kinds
            .iter()
            .zip(conditions)
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        let object = json!({
            "metadata": {"generation": 1},
            "status": {
                "observedGeneration": 1, "readyReplicas": 3, "scale": {"phase": scale},
                "conditions": conditions,
            },
        });
        let mut sight = Sight { object, ..Sight::default() };
        sight.facts.silent = silent;
        sight.facts.cluster = Some(crate::traffic::watch::ClusterFacts::default());
        sight
    }

    /// Looks at the same sight every second; returns when it was called a lie.
    fn seconds_until_lie(sight: &Sight, ready: usize) -> Option<u64> {
        let mut judge = Judge::default();
        let looks = |at: &u64| judge.look(Duration::from_secs(*at), true, sight, ready).is_some();
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
    fn an_operator_that_is_gone_tells_no_lies() {
        let (mut judge, wrong) = (Judge::default(), sight(["True", "False", "False"], "Idle", 8));
        for at in 0..60 {
            let lie = judge.look(Duration::from_secs(at), at % 15 != 0, &wrong, 3);
            assert_eq!(lie, None, "{at}");
        }
    }
}
