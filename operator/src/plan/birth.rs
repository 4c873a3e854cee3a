//! How a cluster comes to be, once and never again: its identity is recorded before anything is made,
//! data of an earlier cluster is never formatted over, and Formed is recorded only when every member
//! has a part in it.

use std::collections::BTreeSet;

use flin_crds::{Bootstrap, BootstrapMember, BootstrapPhase, Phase, names, reason};

use super::{FreshId, Hold, Plan};
use crate::desired::bootstrap_config;
use crate::nodes::Report;
use crate::observe::{Claim, Observed};
use crate::validate::ValidatedCluster;

/// How many volume claims are named in a message.
const CLAIMS_NAMED_MAX: usize = 5;

/// What to do for a cluster whose birth is not recorded.
pub(super) fn plan(cluster: &ValidatedCluster, observed: &Observed, fresh: &FreshId) -> Plan {
    let claims = &observed.claims;
    if let Some(claim) = claims.iter().find(|claim| claim.terminating) {
        return Plan::Hold(Hold {
            phase: Phase::Pending,
            reason: reason::WAITING_FOR_DELETION,
            message: format!(
                "PersistentVolumeClaim {} of an earlier cluster is still being deleted",
                claim.name
            ),
        });
    }
    if claims.is_empty() {
        return Plan::Record(birth(cluster, &fresh.0, BootstrapPhase::Forming));
    }
    if !cluster.adopt {
        return Plan::Hold(Hold {
            phase: Phase::FoundExistingData,
            reason: reason::FOUND_EXISTING_DATA,
            message: format!(
                "found the volumes of an earlier cluster: {}. To take over the data on them set \
                 spec.adopt=true; to begin anew delete these PersistentVolumeClaims",
                listed(claims)
            ),
        });
    }
    match adoptable(cluster, claims) {
        Ok(cluster_id) => Plan::Record(birth(cluster, cluster_id, BootstrapPhase::Formed)),
        Err(words) => Plan::Hold(Hold {
            phase: Phase::FoundExistingData,
            reason: reason::ADOPTION_REFUSED,
            message: words,
        }),
    }
}

/// Whether a forming cluster is there: every partition is led and every member takes part. A member
/// that is still to come would find its cluster formed and its own disk empty, and refuse to start.
pub(super) fn is_complete(bootstrap: &Bootstrap, report: Option<&Report>) -> bool {
    let Some(report) = report else { return false };
    let alive: BTreeSet<_> =
        report.members.iter().filter(|member| member.alive).map(|member| &member.name).collect();
    report.cluster_id == bootstrap.cluster_id
        && report.partitions > 0
        && report.leaderless == 0
        && bootstrap.members.iter().all(|member| alive.contains(&member.name))
}

/// The node to tell that the cluster's birth is recorded, when the nodes do not know it yet.
pub(super) fn confirm_at(bootstrap: &Bootstrap, report: Option<&Report>) -> Option<String> {
    report
        .filter(|_| bootstrap.phase == BootstrapPhase::Formed)
        .filter(|report| !report.formed && report.partitions > 0 && report.leaderless == 0)
        .map(|report| report.address.clone())
}

/// The phase that nodes may read. It goes from Forming to Formed once the nodes confirm, and never
/// back; when nothing is known of what they last read, the status decides.
pub(super) fn announced(bootstrap: &Bootstrap, observed: &Observed) -> BootstrapPhase {
    if bootstrap.phase == BootstrapPhase::Forming {
        return BootstrapPhase::Forming;
    }
    let confirmed = observed.report.as_ref().is_some_and(|report| report.formed);
    match observed.bootstrap_config.as_ref().and_then(bootstrap_config::announced) {
        Some(BootstrapPhase::Forming) if !confirmed => BootstrapPhase::Forming,
        _ => BootstrapPhase::Formed,
    }
}

fn birth(cluster: &ValidatedCluster, cluster_id: &str, phase: BootstrapPhase) -> Bootstrap {
    let member = |ordinal| {
        let host =
            names::pod_host(&cluster.name, &cluster.namespace, ordinal, &cluster.cluster_domain);
        BootstrapMember {
            name: names::pod(&cluster.name, ordinal),
            node_id: i64::from(ordinal) + 1,
            peer_address: format!("{host}:{}", names::PORT_PEER),
            client_address: format!("{host}:{}", names::PORT_CLUSTER),
        }
    };
    Bootstrap {
        cluster_id: cluster_id.to_owned(),
        phase,
        partitions: as_i32(cluster.partitions),
        replication_factor: as_i32(cluster.replication_factor),
        members: (0..cluster.replicas).map(member).collect(),
    }
}

fn as_i32(validated: u32) -> i32 {
    i32::try_from(validated).expect("validation bounds it to 1024")
}

/// The cluster whose volumes these are, if they are all of it and it is the one the spec asks for.
fn adoptable<'a>(cluster: &ValidatedCluster, claims: &'a [Claim]) -> Result<&'a str, String> {
    let cannot = |why: String| Err(format!("cannot adopt the volumes found: {why}"));
    let mut cluster_id = None;
    for claim in claims {
        let Some(id) = claim.cluster_id.as_deref() else {
            return cannot(format!(
                "PersistentVolumeClaim {} has no annotation {} that says whose data it holds",
                claim.name,
                names::ANNOTATION_CLUSTER_ID
            ));
        };
        if *cluster_id.get_or_insert(id) != id {
            return cannot(format!("they are of different clusters: {}", listed(claims)));
        }
        if claim.partitions.is_some_and(|found| found != cluster.partitions) {
            let found = claim.partitions.unwrap_or_default();
            return cannot(format!(
                "their cluster has {found} partitions: set spec.partitions={found}"
            ));
        }
    }
    let ordinals: Vec<_> = claims.iter().map(|claim| claim.ordinal).collect();
    let wanted: Vec<_> = (0..cluster.replicas).collect();
    if ordinals != wanted {
        return cannot(format!(
            "spec.replicas={} needs the volumes of exactly {} to {}, and there are {}",
            cluster.replicas,
            names::volume_claim(&cluster.name, 0),
            names::volume_claim(&cluster.name, cluster.replicas - 1),
            listed(claims)
        ));
    }
    cluster_id.ok_or_else(|| "there are no volumes".to_owned())
}

fn listed(claims: &[Claim]) -> String {
    let mut words = claims
        .iter()
        .take(CLAIMS_NAMED_MAX)
        .map(|claim| match &claim.cluster_id {
            Some(id) => format!("{} (cluster {id})", claim.name),
            None => claim.name.clone(),
        })
        .collect::<Vec<_>>()
        .join(", ");
    if claims.len() > CLAIMS_NAMED_MAX {
        words = format!("{words} and {} more", claims.len() - CLAIMS_NAMED_MAX);
    }
    words
}
