//! What people see: the status of a FlinCluster and the events about it, as pure functions of the plan
//! and of what was found. The same situation gives the same status, so that nothing is written while
//! nothing changes.

mod conditions;
mod events;
mod members;
mod rebalancing;
mod story;
mod verdicts;

pub use events::{Happening, happenings};

use flin_crds::{
    BootstrapPhase, FlinClusterStatus, PartitionsStatus, Phase, condition, names, reason,
};
use k8s_openapi::jiff::Timestamp;

use crate::observe::Observed;
use crate::plan::{Hold, Settle};
use crate::validate::ValidatedCluster;
use conditions::Conditions;
use verdicts::Health;

/// How long nodes that have never been ready may take after the others serve, before they count as missing.
const FIRST_START_SECONDS_MAX: i64 = 60;

/// What every status is made with.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The status so far.
    pub prior: Option<&'a FlinClusterStatus>,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The time, for conditions that change.
    pub now: Timestamp,
}

/// The status of a cluster whose spec breaks a rule. What is known of a cluster that runs stays.
#[must_use]
pub fn invalid(moment: Moment<'_>, words: &str) -> FlinClusterStatus {
    let mut status = moment.prior.cloned().unwrap_or_default();
    status.observed_generation = moment.generation;
    if status.bootstrap.is_none() {
        status.phase = Some(Phase::Pending);
    }
    let message = format!("{words}; nothing was changed");
    status.conditions = Conditions::new(moment).refused(reason::INVALID_SPEC, &message);
    status
}

/// The status of a cluster that is held: nothing is touched.
#[must_use]
pub fn held(moment: Moment<'_>, cluster: &ValidatedCluster, hold: &Hold) -> FlinClusterStatus {
    let mut status = moment.prior.cloned().unwrap_or_default();
    status.observed_generation = moment.generation;
    status.selector = Some(names::selector_string(&cluster.name));
    if status.bootstrap.is_none() {
        status.phase = Some(hold.phase);
        status.ready = Some(format!("0/{}", cluster.replicas));
    }
    status.conditions = Conditions::new(moment).refused(hold.reason, &hold.message);
    status
}

/// The status of a cluster whose objects are settled.
#[must_use]
pub fn settled(
    moment: Moment<'_>,
    cluster: &ValidatedCluster,
    settle: &Settle,
    observed: &Observed,
) -> FlinClusterStatus {
    let health = Health::judge(Past::of(&moment), settle, observed);
    let replicas = settle.scale.replicas;
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    FlinClusterStatus {
        observed_generation: moment.generation,
        phase: Some(health.phase()),
        ready: Some(format!("{}/{replicas}", observed.ready())),
        replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        ready_replicas: count(observed.ready()),
        selector: Some(names::selector_string(&cluster.name)),
        version: version(moment, observed),
        conditions: Conditions::new(moment).of(&health.verdicts()),
        bootstrap: Some(settle.bootstrap.clone()),
        members: members::members(moment.prior, cluster, settle, observed),
        partitions: partitions(moment, settle, observed),
        scale: Some(settle.scale.status.clone()),
        rollout: Some(settle.rollout.status.clone()),
    }
}

/// What the status tells of the time before.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// Whether clients were ever served.
    was_served: bool,
    /// Whether some nodes may still be on their very first start.
    is_first_start: bool,
}

impl Past {
    fn of(moment: &Moment<'_>) -> Self {
        let Some(prior) = moment.prior else {
            return Self { was_served: false, is_first_start: true };
        };
        let was_served = match prior.phase {
            None | Some(Phase::Pending | Phase::FoundExistingData | Phase::Forming) => false,
            Some(
                Phase::Running
                | Phase::Scaling
                | Phase::RollingOut
                | Phase::Degraded
                | Phase::Unavailable
                | Phase::DataLost,
            ) => true,
        };
        let serves_since = conditions::find(prior, condition::AVAILABLE)
            .filter(|available| available.status == "True")
            .map_or(moment.now, |available| available.last_transition_time.0);
        let seconds = moment.now.as_second() - serves_since.as_second();
        Self { was_served, is_first_start: !was_served && seconds < FIRST_START_SECONDS_MAX }
    }
}

fn version(moment: Moment<'_>, observed: &Observed) -> Option<String> {
    let reported = observed.report.as_ref().map(|report| report.version.clone());
    reported
        .filter(|version| !version.is_empty())
        .or_else(|| moment.prior.and_then(|prior| prior.version.clone()))
}

/// The partitions as last reported; when nobody reports, those of a cluster that is formed count as not
/// led, since nobody says that they are.
fn partitions(
    moment: Moment<'_>,
    settle: &Settle,
    observed: &Observed,
) -> Option<PartitionsStatus> {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    match &observed.report {
        Some(report) => Some(PartitionsStatus {
            total: settle.bootstrap.partitions,
            under_replicated: number(report.under_replicated),
            leaderless: number(report.leaderless),
        }),
        None if settle.bootstrap.phase == BootstrapPhase::Forming => None,
        None => moment.prior.and_then(|prior| prior.partitions),
    }
}
