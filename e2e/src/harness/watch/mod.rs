//! Somebody who watches a FlinCluster from three sides while a scenario runs: every version of the object
//! as `kubectl get -w` shows it, its pods, its PodDisruptionBudget, and the facts that a Job beside the cluster finds. What the status
//! says is compared with the facts all the time, and the first lie ends the scenario.

mod pods;
mod sight;
mod truth;

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use pods::Pods;
pub(crate) use sight::{Passed, Sight};

use self::truth::Judge;
use super::flincluster::FlinCluster;
use super::job::Job;
use super::operator;
use crate::traffic::recorder::unix_us;
use crate::traffic::{Line, Note};

/// How often the status is compared with the facts.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long the Job that finds the facts may run: longer than any scenario.
const JOB_MAX: Duration = Duration::from_secs(3_600);

/// What the watcher is told.
#[derive(Debug, Clone)]
pub(crate) struct WatchOptions {
    /// How many partitions the cluster has.
    pub(crate) partitions: u32,
    /// How often each is read.
    pub(crate) probe_ms: u64,
    /// The machine that the Job beside the cluster runs on.
    pub(crate) machine: Option<String>,
}

/// The watcher, to be run beside what it watches.
pub(crate) struct Watch {
    cluster: FlinCluster,
    job: Job,
}

/// What the watcher has seen so far, for the scenario.
pub(crate) struct View {
    sight: watch::Sender<Sight>,
    passed: RefCell<Vec<Passed>>,
    pods: RefCell<Pods>,
}

impl Watch {
    /// Starts the Job that finds the facts.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(cluster: &FlinCluster, options: &WatchOptions) -> Result<Self> {
        let (partitions, probe_ms) = (options.partitions.to_string(), options.probe_ms.to_string());
        let (target, admin) = (cluster.address(), cluster.admin_address());
        let args = [
            "traffic",
            "watch",
            "--target",
            &target,
            "--admin",
            &admin,
            "--partitions",
            &partitions,
            "--probe-ms",
            &probe_ms,
            "--patience-ms",
            "1000",
        ];
        let mut job = cluster.job("watch", args.map(str::to_owned).into());
        job.machine.clone_from(&options.machine);
        let job = cluster.space.start_job(job, JOB_MAX).await.context("watch the cluster")?;
        Ok(Self { cluster: cluster.clone(), job })
    }

    /// Watches until something is wrong.
    ///
    /// # Errors
    /// The first lie, or why nothing can be seen any more.
    pub(crate) async fn run(self, view: &View) -> Result<Infallible> {
        let Self { cluster, job } = self;
        let ended = futures::try_join!(
            follow_facts(job, view),
            follow_object(&cluster, view),
            follow_pods(&cluster, view),
            follow_budget(&cluster, view),
            compare(&cluster, view),
        );
        ended.map(|(never, ..)| never)
    }
}

impl View {
    /// A view of nothing yet.
    pub(crate) fn new() -> Self {
        let (sight, _) = watch::channel(Sight::default());
        Self { sight, passed: RefCell::default(), pods: RefCell::default() }
    }

    /// What is seen now.
    pub(crate) fn now(&self) -> Sight {
        self.sight.borrow().clone()
    }

    /// Waits until what is seen `holds`, looking at every change, and returns it.
    ///
    /// # Errors
    /// After `patience`, with what is seen then.
    pub(crate) async fn until(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Sight) -> bool,
    ) -> Result<Sight> {
        let mut sights = self.sight.subscribe();
        let waited = timeout(patience, sights.wait_for(|sight| holds(sight))).await;
        match waited {
            Ok(Ok(sight)) => Ok(sight.clone()),
            Ok(Err(_)) => bail!("nobody watches any more"),
            Err(_) => Err(anyhow!(
                "not in {} s: {what}\n  seen instead: {}",
                patience.as_secs(),
                self.sight.borrow().words()
            )),
        }
    }

    /// The phases that the status showed since a moment, in microseconds since 1970.
    pub(crate) fn passed_since(&self, from_us: u64) -> Vec<Passed> {
        self.passed.borrow().iter().filter(|passed| passed.at_us >= from_us).cloned().collect()
    }

    /// Forgets which pods there were, but for those there are.
    pub(crate) fn forget_pods(&self) {
        self.pods.borrow_mut().forget();
    }

    /// The pods that were seen since [`View::forget_pods`].
    pub(crate) fn pods(&self) -> Pods {
        self.pods.borrow().clone()
    }

    fn saw(&self, object: Value) {
        let passed = Passed::of(unix_us(), &object);
        let mut all = self.passed.borrow_mut();
        if all.last().is_none_or(|last| !last.is_like(&passed)) {
            all.push(passed);
        }
        drop(all);
        self.sight.send_modify(|sight| sight.object = object);
    }
}

async fn follow_facts(mut job: Job, view: &View) -> Result<Infallible> {
    while let Some(line) = job.next().await? {
        match line {
            Line::Note(Note::Facts(facts)) => view.sight.send_modify(|sight| sight.facts = facts),
            Line::Note(Note::Problem { text }) => bail!("the watching Job: {text}"),
            Line::Other(text) => eprintln!("    watch: {text}"),
            Line::Note(_) | Line::Record(_) => {}
        }
    }
    bail!("the watching Job ended")
}

async fn follow_object(cluster: &FlinCluster, view: &View) -> Result<Infallible> {
    let only = watcher::Config::default().fields(&format!("metadata.name={}", cluster.name));
    follow(cluster.api.clone(), only, |event| {
        let (Event::Apply(object) | Event::InitApply(object)) = event else { return };
        let mut data = object.data;
        data["metadata"] = json!({"generation": object.metadata.generation});
        view.saw(data);
    })
    .await
}

async fn follow_pods(cluster: &FlinCluster, view: &View) -> Result<Infallible> {
    let only = watcher::Config::default().labels(&format!("flin.io/cluster={}", cluster.name));
    follow(cluster.space.api::<Pod>(), only, |event| view.pods.borrow_mut().take(event)).await
}

async fn follow_budget(cluster: &FlinCluster, view: &View) -> Result<Infallible> {
    let only = watcher::Config::default().fields(&format!("metadata.name={}", cluster.name));
    follow(cluster.space.api::<PodDisruptionBudget>(), only, |event| {
        let disruptions = match event {
            Event::Apply(budget) | Event::InitApply(budget) => {
                match budget.spec.and_then(|spec| spec.max_unavailable) {
                    Some(IntOrString::Int(most)) => Some(most),
                    _ => None,
                }
            }
            Event::Delete(_) => None,
            Event::Init | Event::InitDone => return,
        };
        view.sight.send_modify(|sight| sight.disruptions = disruptions);
    })
    .await
}

/// Takes every event without end; a watch that breaks is made again.
async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    mut take: impl FnMut(Event<K>),
) -> Result<Infallible>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    let mut events: std::pin::Pin<Box<dyn Stream<Item = _>>> = Box::pin(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => eprintln!("    watch: {error}"),
        }
    }
    bail!("a watch ended")
}

async fn compare(cluster: &FlinCluster, view: &View) -> Result<Infallible> {
    let (begin, mut judge) = (Instant::now(), Judge::default());
    loop {
        sleep(COMPARE_EVERY).await;
        // An operator that is gone tells nothing, hence no lies; its successor is given time.
        let at_work = operator::at_work(&cluster.space.kubernetes).await;
        let at_work = at_work.is_ok_and(|pod| pod.is_some());
        let (sight, pods) = (view.now(), view.pods());
        if let Some(lie) = judge.look(begin.elapsed(), at_work, &sight, &pods.ready()) {
            bail!("the status lies: {lie}\n  seen: {}", sight.words());
        }
    }
}
