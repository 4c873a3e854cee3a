//! Carries out what a plan wants done beyond the objects: orders to the nodes, and the restart of one of them.

use std::cmp::Ordering;
use std::time::Duration;

use flin_crds::{FlinClusterStatus, RolloutStep, ScalePhase, names};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Context, Error, chain};
use crate::failpoint::Boundary;
use crate::nodes::{MemberState, Order, Password, Report};
use crate::observe::{Observed, address};
use crate::plan::{Act, Refusal, Settle, Target};
use crate::validate::{Recorded, ValidatedCluster};

/// How long a node may take to hand its leaderships over. What it still leads then finds a new leader by
/// itself once it is gone, as after a crash.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);
/// How often it is asked.
const HAND_OVER_POLL: Duration = Duration::from_millis(250);

/// What came of the orders of a plan.
pub(super) enum Obeyed {
    /// There were none, or they have to wait: what else is planned holds.
    Nothing,
    /// All of them are agreed, and what was observed says so: plan again.
    All,
}

/// Tells the nodes what is planned. What they refuse stands in the plan afterwards; what fails otherwise is
/// told again in the next pass.
pub(super) async fn orders(
    context: &Context,
    cluster: &ValidatedCluster,
    settle: &mut Settle,
    observed: &mut Observed,
) -> Obeyed {
    let (Some(report), Some(password)) =
        (&mut observed.report, observed.passwords.client_password())
    else {
        return Obeyed::Nothing;
    };
    let cluster_id = &settle.bootstrap.cluster_id;
    let mut failed = settle.orders.is_empty();
    for order in &settle.orders {
        let told = context.nodes.order(&report.address, password, cluster_id, order).await;
        match told {
            Ok(()) => {
                info!(%cluster_id, ?order, "the nodes agreed");
                reach(context, order);
                note_effect(order, report);
            }
            Err(error) => {
                warn!(%cluster_id, ?order, error = %chain(&error), "the nodes did not agree");
                failed = true;
                if let Some(words) = error.refusal() {
                    settle.refusals.push(Refusal::ByNodes { words: words.to_owned() });
                }
                if !matches!(order, Order::SetRebalance(_)) {
                    // What is not agreed is not on record either: whom this operator drains is known by it.
                    let status = &mut settle.scale.status;
                    status.to = cluster.recorded.scale.to.or(status.to);
                    break;
                }
            }
        }
    }
    if failed { Obeyed::Nothing } else { Obeyed::All }
}

fn reach(context: &Context, order: &Order) {
    let boundary = match order {
        Order::SetDraining(_) => Boundary::AfterDrainIntent,
        Order::RemoveMember(_) => Boundary::AfterRemove,
        Order::SetRebalance(_) => Boundary::AfterPace,
        Order::SetReplicationFactor(_) => Boundary::AfterFactor,
    };
    context.failpoint.reach(boundary);
}

/// What an order changes about a report from before it.
fn note_effect(order: &Order, report: &mut Report) {
    match order {
        Order::SetReplicationFactor(factor) => {
            report.replication_factor = *factor;
            report.rebalance.balanced = false;
        }
        Order::SetRebalance(settings) => report.rebalance.settings = *settings,
        Order::SetDraining(nodes) => {
            report.rebalance.balanced = false;
            for member in &mut report.members {
                member.state = match member.state {
                    MemberState::Serving | MemberState::Draining
                        if nodes.contains(&member.node_id) =>
                    {
                        MemberState::Draining
                    }
                    MemberState::Draining => MemberState::Serving,
                    other => other,
                };
            }
        }
        Order::RemoveMember(node) => report.members.retain(|member| member.node_id != *node),
    }
}

/// Notes what was done to the StatefulSet, where anything was.
pub(super) fn applied(
    context: &Context,
    wanted: Option<&StatefulSet>,
    before: Option<&StatefulSet>,
) {
    let Some(wanted) = wanted else { return };
    let Some(before) = before else {
        context.failpoint.reach(Boundary::AfterCreate);
        return;
    };
    match wanted.spec.replicas.cmp(&before.spec.replicas) {
        Ordering::Greater => context.failpoint.reach(Boundary::AfterGrow),
        Ordering::Less => context.failpoint.reach(Boundary::AfterShrink),
        Ordering::Equal => {}
    }
    if revision(wanted) != revision(before) {
        context.failpoint.reach(Boundary::AfterTemplate);
    }
}

/// What new pods are made from.
fn revision(set: &StatefulSet) -> Option<&String> {
    set.spec.template.metadata.as_ref()?.annotations.as_ref()?.get(names::ANNOTATION_REVISION)
}

/// The boundary behind a status that is the first to say what is to be done to nodes.
pub(super) fn intent(before: &Recorded, status: &FlinClusterStatus) -> Option<Boundary> {
    let phase = status.scale.as_ref().map(|scale| scale.phase);
    let step = status.rollout.as_ref().and_then(|rollout| rollout.step);
    match (phase, step) {
        (Some(ScalePhase::Draining), _) if before.scale.phase != ScalePhase::Draining => {
            Some(Boundary::AfterDrainRecord)
        }
        (Some(ScalePhase::Removing), _) if before.scale.phase != ScalePhase::Removing => {
            Some(Boundary::AfterRemoveRecord)
        }
        // From rest, only another number of replicas begins with this step.
        (Some(ScalePhase::Rebalancing), _) if before.scale.phase == ScalePhase::Idle => {
            Some(Boundary::AfterFactorRecord)
        }
        (_, Some(RolloutStep::HandingOver)) if before.rollout.step != step => {
            Some(Boundary::AfterTurnRecord)
        }
        _ => None,
    }
}

/// Does to one pod what the rollout wants, and notes in the plan how far it came.
pub(super) async fn act(
    context: &Context,
    cluster: &ValidatedCluster,
    settle: &mut Settle,
    observed: &Observed,
) -> Result<(), Error> {
    let Some(act) = &settle.rollout.act else { return Ok(()) };
    let password = observed.passwords.client_password();
    let status = &mut settle.rollout.status;
    match act {
        Act::Restart(target) => {
            hand_over(context, target, password).await;
            delete(context, cluster, target).await?;
            status.step = Some(RolloutStep::Restarting);
            status.message = Some(format!("waiting for {} to end and come back", target.pod));
        }
        Act::Delete(target) => delete(context, cluster, target).await?,
        Act::Release(target) => {
            if release(context, target, password).await {
                context.failpoint.reach(Boundary::AfterRelease);
            } else {
                let recorded = &cluster.recorded.rollout;
                status.phase = recorded.phase;
                status.current.clone_from(&recorded.current);
                status.step = recorded.step;
            }
        }
    }
    Ok(())
}

/// Has a node hand its leaderships over, and waits until it has none, for a while.
async fn hand_over(context: &Context, target: &Target, password: Option<&Password>) {
    let (Some(ip), Some(password)) = (&target.ip, password) else { return };
    let (pod, to) = (&target.pod, address(ip));
    let until = Instant::now() + HAND_OVER_MAX;
    loop {
        let left = match context.nodes.step_down(&to, password, false).await {
            Ok(0) => {
                info!(%pod, "leads nothing any more");
                context.failpoint.reach(Boundary::AfterStepdown);
                return;
            }
            Ok(left) => {
                context.failpoint.reach(Boundary::AfterStepdown);
                left.to_string()
            }
            Err(error) => chain(&error),
        };
        if Instant::now() >= until {
            warn!(%pod, %left, "restarting a node that leads");
            return;
        }
        sleep(HAND_OVER_POLL).await;
    }
}

/// Lets a node lead again; says whether it knows.
async fn release(context: &Context, target: &Target, password: Option<&Password>) -> bool {
    let (Some(ip), Some(password)) = (&target.ip, password) else { return false };
    let told = context.nodes.step_down(&address(ip), password, true).await;
    told.inspect_err(|error| warn!(pod = %target.pod, error = %chain(error), "not let go")).is_ok()
}

/// Deletes exactly this pod. One that is gone, or that another one has taken the name of, is no error: the
/// next pass sees what is there.
async fn delete(
    context: &Context,
    cluster: &ValidatedCluster,
    target: &Target,
) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), &cluster.namespace);
    let uid = Some(target.uid.clone());
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&target.pod, &parameters).await {
        Ok(_) => {
            info!(pod = %target.pod, uid = %target.uid, "deleted the pod");
            context.metrics.wrote("Pod");
            context.failpoint.reach(Boundary::AfterDeletePod);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Error::Delete { pod: target.pod.clone(), source: Box::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use flin_crds::{RolloutStatus, ScaleStatus};

    use super::*;

    #[test]
    fn only_the_first_status_that_says_what_is_to_be_done_is_a_boundary() {
        let scale = |phase| ScaleStatus { phase, ..ScaleStatus::default() };
        let rollout = |step| RolloutStatus { step, ..RolloutStatus::default() };
        let status = |phase, step| FlinClusterStatus {
            scale: Some(scale(phase)),
            rollout: Some(rollout(step)),
            ..FlinClusterStatus::default()
        };
        let recorded = |phase, step| Recorded {
            scale: scale(phase),
            rollout: rollout(step),
            ..Recorded::default()
        };
        let rest = (ScalePhase::Idle, None);
        for (now, boundary) in [
            ((ScalePhase::Draining, None), Boundary::AfterDrainRecord),
            ((ScalePhase::Removing, None), Boundary::AfterRemoveRecord),
            ((ScalePhase::Rebalancing, None), Boundary::AfterFactorRecord),
            ((ScalePhase::Idle, Some(RolloutStep::HandingOver)), Boundary::AfterTurnRecord),
        ] {
            let told = status(now.0, now.1);
            assert_eq!(intent(&recorded(rest.0, rest.1), &told), Some(boundary));
            assert_eq!(intent(&recorded(now.0, now.1), &told), None, "said before");
        }
        let rebalancing = status(ScalePhase::Rebalancing, None);
        assert_eq!(intent(&recorded(ScalePhase::Joining, None), &rebalancing), None);
        assert_eq!(intent(&recorded(rest.0, rest.1), &status(ScalePhase::Joining, None)), None);
    }
}
