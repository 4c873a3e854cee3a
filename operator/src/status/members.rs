//! The nodes, with what Kubernetes and the other nodes say of each.

use std::collections::BTreeSet;

use flin_crds::{BootstrapPhase, FlinClusterStatus, MemberStatus, names};

use crate::nodes::{MemberState, ReportedMember};
use crate::observe::{Observed, Pod};
use crate::plan::Settle;
use crate::units::replicas;
use crate::validate::ValidatedCluster;

/// One entry for each node that there should be, and for each member that is to go.
pub(super) fn members(
    prior: Option<&FlinClusterStatus>,
    cluster: &ValidatedCluster,
    settle: &Settle,
    observed: &Observed,
) -> Vec<MemberStatus> {
    let report = observed.report.as_ref();
    // One that was replaced bears the name of another, which is shown.
    let reported: Vec<&ReportedMember> = report
        .iter()
        .flat_map(|report| &report.members)
        .filter(|member| member.state != MemberState::Replaced)
        .collect();
    let is_forming = settle.bootstrap.phase == BootstrapPhase::Forming;
    let recorded_id = |name: &str| {
        let status = prior.and_then(|prior| prior.members.iter().find(|m| m.name == name));
        let born = settle.bootstrap.members.iter().find(|born| born.name == name);
        status.and_then(|member| member.node_id).or(born.map(|born| born.node_id))
    };
    let mut named: BTreeSet<(u32, String)> = (0..settle.scale.replicas)
        .map(|ordinal| (ordinal, names::pod(&cluster.name, ordinal)))
        .collect();
    named.extend(reported.iter().map(|member| {
        let ordinal = names::pod_ordinal(&cluster.name, &member.name).unwrap_or(u32::MAX);
        (ordinal, member.name.clone())
    }));
    let one = |name: String| {
        let pod = observed.pods.iter().find(|pod| pod.name == name);
        let member = reported.iter().copied().find(|member| member.name == name);
        let is_known = report.is_some() && !is_forming;
        let id = member.and_then(|member| i64::try_from(member.node_id).ok());
        let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        MemberStatus {
            node_id: id.or_else(|| recorded_id(&name).filter(|_| !is_known)),
            ready: pod.is_some_and(|pod| pod.ready),
            alive: member.is_some_and(|member| member.alive),
            replicas: member.map_or(0, |member| number(member.replicas)),
            leaders: member.map_or(0, |member| number(member.leaders)),
            message: message(pod, member),
            name,
        }
    };
    named.into_iter().map(|(_, name)| one(name)).collect()
}

fn message(pod: Option<&Pod>, member: Option<&ReportedMember>) -> Option<String> {
    let Some(pod) = pod else { return Some("its pod does not exist".to_owned()) };
    let trouble = pod.refuses_disk.clone().or_else(|| pod.waits_for.clone());
    trouble.or_else(|| {
        let member = member?;
        match member.state {
            MemberState::Draining => {
                Some(format!("it is being emptied, {} left", replicas(member.holds.into(), 0)))
            }
            MemberState::Lost => Some("it is being replaced by replicas on others".to_owned()),
            MemberState::Serving | MemberState::Replaced => None,
        }
    })
}
