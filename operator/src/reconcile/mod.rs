//! One pass over one cluster: observe, validate, plan, and then do what was planned. This is the only
//! place where the steps meet; it decides nothing itself.

mod backoff;
mod changes;
mod record;

pub use backoff::Failures;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flin_crds::{BootstrapPhase, FlinCluster, FlinClusterStatus, Phase, RolloutPhase, condition};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt};
use tracing::{debug, info, warn};

use crate::apply::{self, Applier, Ledger};
use crate::desired::{desired, secret};
use crate::failpoint::{Boundary, Failpoint};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::observe::{self, Observed, observe};
use crate::plan::{FreshId, Plan, Settle, plan};
use crate::status::{self, Moment};
use crate::validate::{Defaults, ValidatedCluster, validate};
use changes::Obeyed;

/// The longest a pass may take, the client's own retries included.
const PASS_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a plan may lead to another one within a pass.
const PLANS_MAX: usize = 8;

/// When to look again although nothing is known to have changed: a watch may have missed something, and
/// the nodes' own health is not watched at all.
const LOOK_AGAIN_CHANGING: Duration = Duration::from_secs(1);
const LOOK_AGAIN_UNHEALTHY: Duration = Duration::from_secs(5);
const LOOK_AGAIN_HEALTHY: Duration = Duration::from_secs(30);

/// What passes share.
pub struct Context {
    /// The way to the API server.
    pub client: Client,
    /// The way to the nodes.
    pub nodes: Arc<dyn Nodes>,
    /// What the operator's settings add to every cluster.
    pub defaults: Defaults,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// How the API server spells what it is given.
    pub ledger: Ledger,
    /// How often each cluster failed in a row.
    pub failures: Failures,
    /// Where the operator ends for a test.
    pub failpoint: Failpoint,
    recorder: Recorder,
}

impl Context {
    /// A context for a new life of the operator.
    #[must_use]
    pub fn new(
        client: Client,
        nodes: Arc<dyn Nodes>,
        defaults: Defaults,
        metrics: Arc<Metrics>,
        pod_name: String,
        failpoint: Failpoint,
    ) -> Self {
        let reporter = Reporter {
            controller: flin_crds::names::OPERATOR.to_owned(),
            instance: Some(pod_name),
        };
        let recorder = Recorder::new(client.clone(), reporter);
        let (ledger, failures) = (Ledger::default(), Failures::default());
        Self { client, nodes, defaults, metrics, ledger, failures, failpoint, recorder }
    }

    fn applier(&self) -> Applier<'_> {
        Applier { client: &self.client, ledger: &self.ledger, metrics: &self.metrics }
    }
}

/// A pass that did not come to its end. The next one begins anew; each step can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something could not be read.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// Something could not be written.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A pod could not be deleted.
    #[error("delete pod {pod}")]
    Delete {
        /// Its name.
        pod: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The status could not be written.
    #[error("write the status")]
    Status(#[source] Box<kube::Error>),
    /// The cluster changed under the pass.
    #[error("the FlinCluster changed meanwhile")]
    Conflict,
    /// There is no randomness for identities and passwords.
    #[error("draw random bytes")]
    Randomness(#[from] getrandom::Error),
    /// It took too long.
    #[error("the pass took longer than {} s", PASS_TIMEOUT.as_secs())]
    TimedOut,
    /// Plans led to plans without end: a fault of the operator.
    #[error("no plan settled the cluster")]
    Unsettled,
}

/// One pass over a cluster, with a limit of time; says when to look again.
///
/// # Errors
/// [`Error`]; the caller tries again after a while.
pub async fn reconcile(cluster: Arc<FlinCluster>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    let result = tokio::time::timeout(PASS_TIMEOUT, pass(&cluster, &context)).await;
    let result = result.unwrap_or(Err(Error::TimedOut));
    context.metrics.passed(result.is_ok(), began.elapsed());
    if result.is_ok() {
        context.failures.forget(&key(&cluster));
    }
    result
}

/// When to try again after a pass that failed: soon at first, then ever later.
pub fn after_error(cluster: Arc<FlinCluster>, error: &Error, context: Arc<Context>) -> Action {
    let delay = context.failures.count(key(&cluster));
    if matches!(error, Error::Conflict) {
        debug!(cluster = %cluster.name_any(), "the cluster changed meanwhile, looking again");
    } else {
        let cause = chain(error);
        warn!(cluster = %cluster.name_any(), error = %cause, ?delay, "pass failed");
    }
    Action::requeue(delay)
}

fn key(cluster: &FlinCluster) -> (String, String) {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

async fn pass(cluster: &FlinCluster, context: &Context) -> Result<Action, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // Its objects go with it, by their owner references; making them again would only delay that.
        return Ok(Action::await_change());
    }
    let mut validated = match validate(cluster, &context.defaults) {
        Ok(validated) => validated,
        Err(invalid) => {
            let status = status::invalid(moment(cluster), &invalid.to_string());
            record::status(context, cluster, status).await?;
            return Ok(Action::requeue(LOOK_AGAIN_HEALTHY));
        }
    };
    let mut observed = observe(&context.client, context.nodes.as_ref(), &validated).await?;
    let mut cluster = cluster.clone();
    let (fresh, now) = (FreshId::draw()?, Timestamp::now());
    for _ in 0..PLANS_MAX {
        match plan(&validated, &observed, &fresh, now) {
            Plan::Hold(hold) => {
                let status = status::held(moment(&cluster), &validated, &hold);
                record::status(context, &cluster, status).await?;
                return Ok(Action::requeue(LOOK_AGAIN_UNHEALTHY));
            }
            Plan::Record(bootstrap) => {
                info!(cluster = %validated.name, id = %bootstrap.cluster_id,
                      phase = ?bootstrap.phase, "recording the cluster's birth");
                let boundary = match bootstrap.phase {
                    BootstrapPhase::Forming => Boundary::AfterBirth,
                    BootstrapPhase::Formed => Boundary::AfterFormed,
                };
                cluster = record::bootstrap(context, &cluster, bootstrap).await?;
                context.failpoint.reach(boundary);
                validated.bootstrap =
                    cluster.status.as_ref().and_then(|status| status.bootstrap.clone());
            }
            Plan::Settle(mut settle) => {
                if confirm(context, &settle, &mut observed).await {
                    continue;
                }
                let obeyed = changes::orders(context, &validated, &mut settle, &mut observed).await;
                if matches!(obeyed, Obeyed::Nothing) {
                    return finish(context, &cluster, &validated, *settle, &observed).await;
                }
            }
        }
    }
    Err(Error::Unsettled)
}

/// Tells the nodes that their cluster's birth is recorded, if that is planned; says whether they know
/// now and another plan is due. A refusal stops nothing: the next pass tells them again.
async fn confirm(context: &Context, settle: &Settle, observed: &mut Observed) -> bool {
    let (Some(address), Some(password)) =
        (&settle.confirm_at, observed.passwords.client_password())
    else {
        return false;
    };
    let cluster_id = &settle.bootstrap.cluster_id;
    match context.nodes.confirm_formed(address, password, cluster_id).await {
        Ok(()) => {
            info!(%cluster_id, "the nodes know that their cluster is formed");
            context.failpoint.reach(Boundary::AfterConfirm);
            if let Some(report) = &mut observed.report {
                report.formed = true;
            }
            true
        }
        Err(error) => {
            warn!(%cluster_id, error = %chain(&error), "the nodes were not told that they are formed");
            false
        }
    }
}

async fn finish(
    context: &Context,
    cluster: &FlinCluster,
    validated: &ValidatedCluster,
    mut settle: Settle,
    observed: &Observed,
) -> Result<Action, Error> {
    if settle.generate_passwords {
        context.applier().create_secret(&secret(validated)?).await?;
        context.failpoint.reach(Boundary::AfterSecret);
    }
    let objects = desired(validated, &settle).map_err(apply::Error::from)?;
    let writes = context.applier().settle(&objects, observed).await?;
    changes::applied(context, objects.statefulset.as_ref(), observed.statefulset.as_ref());
    changes::act(context, validated, &mut settle, observed).await?;
    let status = status::settled(moment(cluster), validated, &settle, observed);
    let (again, intent) =
        (look_again(&status, writes), changes::intent(&validated.recorded, &status));
    record::status(context, cluster, status).await?;
    if let Some(boundary) = intent {
        context.failpoint.reach(boundary);
    }
    Ok(Action::requeue(again))
}

fn look_again(status: &FlinClusterStatus, writes: usize) -> Duration {
    let is_blocked =
        status.rollout.as_ref().is_some_and(|rollout| rollout.phase == RolloutPhase::Blocked);
    let is_rebalancing = status
        .conditions
        .iter()
        .any(|found| found.type_ == condition::REBALANCING && found.status == "True");
    match status.phase {
        _ if writes > 0 => LOOK_AGAIN_CHANGING,
        Some(Phase::RollingOut) if is_blocked => LOOK_AGAIN_UNHEALTHY,
        Some(Phase::Forming | Phase::Scaling | Phase::RollingOut) => LOOK_AGAIN_CHANGING,
        Some(Phase::Running) if !is_rebalancing => LOOK_AGAIN_HEALTHY,
        _ => LOOK_AGAIN_UNHEALTHY,
    }
}

fn moment(cluster: &FlinCluster) -> Moment<'_> {
    Moment {
        prior: cluster.status.as_ref(),
        generation: cluster.metadata.generation,
        now: Timestamp::now(),
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
