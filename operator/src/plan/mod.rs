//! Decides what a pass does. Everything here is a pure function of what was asked and what was found,
//! so that each decision can be tested with a table.

mod birth;
mod capacity;
mod refusal;
pub mod rollout;
pub mod scale;
mod zones;

pub use capacity::Lack;
pub use refusal::Refusal;
pub use rollout::{Act, Rollout, Target};
pub use scale::Scale;
pub use zones::SharedZones;

use std::fmt;

use flin_crds::{Bootstrap, BootstrapPhase, Phase, reason};
use k8s_openapi::jiff::Timestamp;

use crate::blueprint::{self, Blueprint, VolumeTemplate};
use crate::nodes::{MemberState, Order, Report};
use crate::observe::{Complaint, Observed, PasswordsFound};
use crate::validate::{Passwords, ValidatedCluster};

/// What to do in a pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Touch nothing and say why.
    Hold(Hold),
    /// Write this to the status before anything else, then plan again.
    Record(Bootstrap),
    /// Bring the objects to what they should be.
    Settle(Box<Settle>),
}

/// Why nothing is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The phase to show.
    pub phase: Phase,
    /// The reason for the conditions.
    pub reason: &'static str,
    /// The reason in words, with the remedy.
    pub message: String,
}

/// How the objects should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Settle {
    /// The cluster's birth, as recorded.
    pub bootstrap: Bootstrap,
    /// The phase that nodes may read: Formed only once that is recorded and confirmed.
    pub announced: BootstrapPhase,
    /// What pods are made from.
    pub blueprint: Blueprint,
    /// The image of nodes whose cluster names none.
    pub default_image: String,
    /// What volumes are made from.
    pub volume: VolumeTemplate,
    /// How many nodes there are, and what to do about it.
    pub scale: Scale,
    /// Which pod is restarted, and what to do about it.
    pub rollout: Rollout,
    /// What the nodes are to be told, in this order; after that, plan again.
    pub orders: Vec<Order>,
    /// Changes of the spec that are not carried out.
    pub refusals: Vec<Refusal>,
    /// The node through which the nodes are to be told that their cluster's birth is recorded; after it
    /// was, plan again.
    pub confirm_at: Option<String>,
    /// Whether the passwords must be generated: true only when nothing was ever made with others.
    pub generate_passwords: bool,
    /// What is wrong with the passwords; nodes cannot start before it is mended.
    pub passwords_complaint: Option<PasswordsComplaint>,
    /// How many nodes may be disrupted voluntarily at the same time.
    pub disruptions_allowed: i32,
}

/// Why there are no passwords to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordsComplaint {
    /// The reason for the conditions.
    pub reason: &'static str,
    /// The reason in words, with the remedy.
    pub message: String,
}

impl Settle {
    /// Whether nodes may run: there are passwords for them or soon will be.
    #[must_use]
    pub fn has_passwords(&self) -> bool {
        self.passwords_complaint.is_none()
    }
}

/// A new random cluster id, a UUID; used only when a cluster is born in this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshId(pub String);

impl FreshId {
    /// Draws one from the operating system.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok(Self(parts.join("-")))
    }
}

impl fmt::Display for FreshId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Decides what to do for `cluster` when `observed` is there at the time `now`.
#[must_use]
pub fn plan(
    cluster: &ValidatedCluster,
    observed: &Observed,
    fresh: &FreshId,
    now: Timestamp,
) -> Plan {
    if let Some(hold) = in_the_way(cluster, observed) {
        return Plan::Hold(hold);
    }
    let Some(bootstrap) = &cluster.bootstrap else {
        return birth::plan(cluster, observed, fresh);
    };
    let is_forming = bootstrap.phase == BootstrapPhase::Forming;
    if is_forming && birth::is_complete(bootstrap, observed.report.as_ref()) {
        return Plan::Record(Bootstrap { phase: BootstrapPhase::Formed, ..bootstrap.clone() });
    }
    Plan::Settle(Box::new(settle(cluster, observed, bootstrap, now)))
}

fn settle(
    cluster: &ValidatedCluster,
    observed: &Observed,
    bootstrap: &Bootstrap,
    now: Timestamp,
) -> Settle {
    let set = observed.statefulset.as_ref();
    let default_image = set.and_then(blueprint::default_image).unwrap_or(&cluster.default_image);
    let mut blueprint = cluster.blueprint.clone();
    if !cluster.names_image {
        // A cluster that names no image keeps the one it was made with when the operator becomes newer.
        default_image.clone_into(&mut blueprint.image);
    }
    let volume = set.and_then(VolumeTemplate::of).unwrap_or_else(|| cluster.volume.clone());
    let (scale, rollout) = changes(cluster, observed, bootstrap, &blueprint.revision(), now);

    let mut refusals: Vec<_> = refusal::of_volume(&cluster.volume, &volume).into_iter().collect();
    refusals.extend(scale.refusal.clone());
    refusals.sort();
    let report = served(bootstrap, observed.report.as_ref());
    let mut orders: Vec<_> =
        report.and_then(|report| pace(cluster, report, &rollout)).into_iter().collect();
    orders.extend(scale.orders.iter().cloned());
    let (generate_passwords, passwords_complaint) = judge_passwords(cluster, observed);
    let at_rest = !scale.is_under_way() && !rollout.is_under_way();
    let may_be_disrupted = at_rest && observed.report.as_ref().is_some_and(is_whole);
    Settle {
        bootstrap: bootstrap.clone(),
        announced: birth::announced(bootstrap, observed),
        confirm_at: birth::confirm_at(bootstrap, observed.report.as_ref()),
        default_image: default_image.to_owned(),
        blueprint,
        volume,
        scale,
        rollout,
        orders,
        refusals,
        generate_passwords,
        passwords_complaint,
        disruptions_allowed: i32::from(may_be_disrupted),
    }
}

/// The report, once the cluster serves: before, nothing is changed about it.
fn served<'a>(bootstrap: &Bootstrap, report: Option<&'a Report>) -> Option<&'a Report> {
    report.filter(|report| bootstrap.phase == BootstrapPhase::Formed && report.formed)
}

/// What to do about scale and pods: one change at a time, and whichever has begun goes first.
fn changes(
    cluster: &ValidatedCluster,
    observed: &Observed,
    bootstrap: &Bootstrap,
    revision: &str,
    now: Timestamp,
) -> (Scale, Rollout) {
    let report = served(bootstrap, observed.report.as_ref());
    let born = u32::try_from(bootstrap.members.len()).unwrap_or(u32::MAX);
    let recorded = match cluster.recorded.replicas {
        0 => born,
        replicas => replicas,
    };
    let replicas = observed.statefulset.as_ref().and_then(|set| set.spec.replicas);
    let mut rollout = rollout::Facts {
        wanted: revision,
        replicas: recorded,
        pods: &observed.pods,
        report,
        scale_under_way: false,
        prior: &cluster.recorded.rollout,
        now,
    };
    let obstacle = rollout::obstacle(&rollout);
    let scale = scale::plan(&scale::Facts {
        cluster: &cluster.name,
        want: cluster.replicas,
        replication_factor: cluster.replication_factor,
        recorded,
        set: replicas.and_then(|replicas| u32::try_from(replicas).ok()),
        pods: &observed.pods,
        report,
        rollout: obstacle.as_deref(),
        prior: &cluster.recorded.scale,
    });
    rollout.replicas = scale.replicas;
    rollout.scale_under_way = scale.is_under_way();
    (scale, rollout::plan(&rollout))
}

/// The order that makes the nodes move replicas as the spec asks, if they do not. A node that is restarted must
/// not be taken for lost meanwhile.
fn pace(cluster: &ValidatedCluster, report: &Report, rollout: &Rollout) -> Option<Order> {
    let mut wanted = cluster.rebalance;
    if rollout.holds_replacement() {
        wanted.replace_after_seconds = 0;
    }
    (wanted != report.rebalance.settings).then_some(Order::SetRebalance(wanted))
}

/// Whether nothing is missing and nothing moves, so that one node can do without.
fn is_whole(report: &Report) -> bool {
    report.meta_led
        && report.leaderless == 0
        && report.under_replicated == 0
        && report.rebalance.moving == 0
        && report.members.iter().all(|member| member.alive && member.state == MemberState::Serving)
}

/// Something that bears a name this cluster needs, and is not its own.
fn in_the_way(cluster: &ValidatedCluster, observed: &Observed) -> Option<Hold> {
    let owned = |meta: &&kube::core::ObjectMeta| {
        meta.owner_references
            .iter()
            .flatten()
            .any(|owner| owner.uid == cluster.owner.uid && owner.controller == Some(true))
    };
    let mut strangers: Vec<_> = observed.objects().filter(|(_, meta)| !owned(meta)).collect();
    // What people must mend is said before what mends itself.
    strangers.sort_by_key(|(_, meta)| meta.deletion_timestamp.is_some());
    let (kind, meta) = strangers.first()?;
    let name = meta.name.as_deref().unwrap_or_default();
    // The garbage collector has yet to come by for what a deleted cluster of this name owned.
    let of_namesake = meta.owner_references.iter().flatten().any(|owner| {
        owner.kind == cluster.owner.kind
            && owner.name == cluster.owner.name
            && owner.uid != cluster.owner.uid
    });
    if meta.deletion_timestamp.is_some() || of_namesake {
        return Some(Hold {
            phase: Phase::Pending,
            reason: reason::WAITING_FOR_DELETION,
            message: format!("{kind} {name} of an earlier cluster is still being deleted"),
        });
    }
    Some(Hold {
        phase: Phase::Pending,
        reason: reason::OBJECT_NOT_OURS,
        message: format!(
            "{kind} {name} exists and does not belong to this FlinCluster: delete it, or give the \
             FlinCluster another name"
        ),
    })
}

/// Whether to generate passwords, and else what is wrong with those there are. Nodes that run hold the
/// old ones: others would cut them off from each other, so a lost Secret is never made anew.
fn judge_passwords(
    cluster: &ValidatedCluster,
    observed: &Observed,
) -> (bool, Option<PasswordsComplaint>) {
    let name = cluster.passwords.secret_name();
    let generated = matches!(cluster.passwords, Passwords::Generated(_));
    let complaint = match &observed.passwords {
        PasswordsFound::Complete { .. } => return (false, None),
        PasswordsFound::Missing if generated && observed.statefulset.is_none() => {
            return (true, None);
        }
        PasswordsFound::Missing if generated => PasswordsComplaint {
            reason: reason::SECRET_MISSING,
            message: format!(
                "Secret {name} is gone and is not generated anew, because running nodes know the old \
                 passwords: restore it, or make one with the keys client-password and peer-secret \
                 and restart all nodes together"
            ),
        },
        PasswordsFound::Missing => PasswordsComplaint {
            reason: reason::SECRET_MISSING,
            message: format!(
                "Secret {name}, named by spec.auth.secretName, does not exist: make it with the keys \
                 client-password and peer-secret"
            ),
        },
        PasswordsFound::Unusable(Complaint::Lacks(key)) => PasswordsComplaint {
            reason: reason::SECRET_INCOMPLETE,
            message: format!("Secret {name} has nothing under the key {key}: add it"),
        },
        PasswordsFound::Unusable(Complaint::Terminating) => PasswordsComplaint {
            reason: reason::SECRET_MISSING,
            message: format!("Secret {name} is being deleted"),
        },
    };
    (false, Some(complaint))
}
