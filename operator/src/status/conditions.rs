//! Conditions: four verdicts with reasons, each with the time it last turned.

use flin_crds::{FlinClusterStatus, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Moment;

/// The longest message; more would be refused by the API server.
const MESSAGE_CHARS_MAX: usize = 4096;

/// What one condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) holds: Answer,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Unknown,
}

impl Answer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Verdict {
    pub(super) fn new(holds: Answer, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds, reason, message: message.into() }
    }
}

/// The verdicts on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) available: Verdict,
    pub(super) progressing: Verdict,
    pub(super) degraded: Verdict,
    pub(super) rebalancing: Verdict,
}

/// Writes conditions that keep the time of their last turn.
pub(super) struct Conditions<'a> {
    moment: Moment<'a>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(moment: Moment<'a>) -> Self {
        Self { moment }
    }

    pub(super) fn of(&self, verdicts: &Verdicts) -> Vec<Condition> {
        vec![
            self.one(condition::AVAILABLE, &verdicts.available),
            self.one(condition::PROGRESSING, &verdicts.progressing),
            self.one(condition::DEGRADED, &verdicts.degraded),
            self.one(condition::REBALANCING, &verdicts.rebalancing),
        ]
    }

    /// Nothing is done, for this reason. A cluster that runs keeps its other conditions: what it can do
    /// for its clients is not changed by what is asked of it.
    pub(super) fn refused(&self, reason: &'static str, message: &str) -> Vec<Condition> {
        let no = Verdict::new(Answer::No, reason, message);
        let is_born = self.moment.prior.is_some_and(|prior| prior.bootstrap.is_some());
        let prior = |type_| self.moment.prior.and_then(|prior| find(prior, type_)).cloned();
        let kept = |type_| prior(type_).filter(|_| is_born);
        let nothing = Verdict::new(Answer::No, reason, "nothing is made yet");
        let kept_or = |type_, verdict| kept(type_).unwrap_or_else(|| self.one(type_, verdict));
        vec![
            kept_or(condition::AVAILABLE, &no),
            self.one(condition::PROGRESSING, &no),
            kept_or(condition::DEGRADED, &nothing),
            kept_or(condition::REBALANCING, &nothing),
        ]
    }

    fn one(&self, type_: &str, verdict: &Verdict) -> Condition {
        let status = verdict.holds.as_str();
        let prior = self.moment.prior.and_then(|prior| find(prior, type_));
        let last_transition_time = match prior {
            Some(prior) if prior.status == status => prior.last_transition_time.clone(),
            _ => Time(self.moment.now),
        };
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            observed_generation: self.moment.generation,
            last_transition_time,
        }
    }
}

/// The condition of a type.
pub(super) fn find<'a>(status: &'a FlinClusterStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}
