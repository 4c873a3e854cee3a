//! What people see: the status of a FlinCluster and the events about it, as pure functions of the plan
//! and of what was found. The same situation gives the same status, so that nothing is written while
//! nothing changes.

mod conditions;
mod events;
mod verdicts;

pub use events::{Happening, happenings};

use flin_crds::{
    BootstrapPhase, FlinClusterStatus, MemberStatus, PartitionsStatus, Phase, names, reason,
};
use k8s_openapi::jiff::Timestamp;

use crate::observe::Observed;
use crate::plan::{Hold, Settle};
use crate::validate::ValidatedCluster;
use conditions::Conditions;
use verdicts::Health;

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
    let health = Health::judge(moment.prior.and_then(|prior| prior.phase), settle, observed);
    let replicas = settle.bootstrap.members.len();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    FlinClusterStatus {
        observed_generation: moment.generation,
        phase: Some(health.phase()),
        ready: Some(format!("{}/{replicas}", observed.ready())),
        replicas: count(replicas),
        ready_replicas: count(observed.ready()),
        selector: Some(names::selector_string(&cluster.name)),
        version: version(moment, observed),
        conditions: Conditions::new(moment).of(&health.verdicts()),
        bootstrap: Some(settle.bootstrap.clone()),
        members: members(settle, observed),
        partitions: partitions(moment, settle, observed),
    }
}

fn version(moment: Moment<'_>, observed: &Observed) -> Option<String> {
    let reported = observed.report.as_ref().map(|report| report.version.clone());
    reported
        .filter(|version| !version.is_empty())
        .or_else(|| moment.prior.and_then(|prior| prior.version.clone()))
}

/// The nodes the cluster has, with what Kubernetes and the other nodes say of each.
fn members(settle: &Settle, observed: &Observed) -> Vec<MemberStatus> {
    let reported = observed.report.as_ref().map(|report| report.members.as_slice());
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let member = |name: &str, node_id: i64| {
        let pod = observed.pods.iter().find(|pod| pod.name == name);
        let report = reported.into_iter().flatten().find(|member| member.name == name);
        let message = match pod {
            None => Some("its pod does not exist".to_owned()),
            Some(pod) => pod.refuses_disk.clone().or_else(|| pod.waits_for.clone()),
        };
        MemberStatus {
            name: name.to_owned(),
            node_id: report.and_then(|member| i64::try_from(member.node_id).ok()).or(Some(node_id)),
            ready: pod.is_some_and(|pod| pod.ready),
            alive: report.is_some_and(|member| member.alive),
            replicas: report.map_or(0, |member| number(member.replicas)),
            leaders: report.map_or(0, |member| number(member.leaders)),
            message,
        }
    };
    settle.bootstrap.members.iter().map(|born| member(&born.name, born.node_id)).collect()
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
