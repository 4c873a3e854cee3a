//! An operator that ends at boundaries between its steps, as told in docs/OPERATOR.md, and is put back afterwards to
//! what it was.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;
use super::operator::{self, RESUMED};
use super::{OPERATOR, OPERATOR_NAMESPACE};

/// The settings of the operator that say where it ends, and where it remembers that.
const FAILPOINT: &str = "FLIN_OPERATOR_FAILPOINT";
const MEMORY: &str = "FLIN_OPERATOR_FAILPOINT_MEMORY";
/// The volume of that memory: it lives as long as the pod.
const VOLUME: &str = "failpoints";
/// The container in the operator's pod.
const CONTAINER: &str = "operator";
/// With this code the operator ends at a failpoint, and says these words and the failpoint's name.
const EXIT_FAILPOINT: i32 = 86;
const WORDS: &str = "ending at the failpoint";
/// How long the operator may take until it has ended everywhere.
const ENDED: Duration = Duration::from_secs(240);
/// How long the API server may be away when the operator is put back.
const PUT_BACK: Duration = Duration::from_secs(30);

/// The operator's Deployment, and what it was in the beginning.
pub(crate) struct Failpoints {
    kubernetes: Kubernetes,
    api: Api<Deployment>,
    original: DeploymentSpec,
}

/// Runs `body` with an operator that can be given failpoints, and puts it back to what it was in any case.
///
/// # Errors
/// Those of `body`; that it took longer than `patience`; that the operator was not put back.
pub(crate) async fn with_failpoints<T>(
    kubernetes: &Kubernetes,
    patience: Duration,
    body: impl AsyncFnOnce(&Failpoints) -> Result<T>,
) -> Result<T> {
    let api = kubernetes.api::<Deployment>(OPERATOR_NAMESPACE);
    let original = api.get(OPERATOR).await.context("read the operator's Deployment")?.spec;
    let kubernetes = kubernetes.clone();
    let failpoints = Failpoints { kubernetes, api, original: plain(original) };
    let result = timeout(patience, body(&failpoints)).await;
    let result = result.unwrap_or_else(|_| Err(anyhow!("not in {} s", patience.as_secs())));
    match (result, failpoints.put_back().await) {
        (result, Ok(())) => result,
        (Ok(_), Err(error)) => Err(error.context("put the operator back")),
        (Err(error), Err(other)) => {
            Err(error.context(format!("the operator was not put back: {other:#}")))
        }
    }
}

impl Failpoints {
    /// Runs `body` with an operator that ends once at each of these boundaries.
    ///
    /// # Errors
    /// Those of `body`; that the operator never came to a boundary, or ended more often than that.
    pub(crate) async fn ending_at<T>(
        &self,
        boundaries: &[&str],
        body: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let at = boundaries.join(",");
        let armed = Patch::Strategic(armed(&at));
        let parameters = PatchParams::default();
        self.api.patch(OPERATOR, &parameters, &armed).await.context("give it failpoints")?;
        let pod = self.at_work(Some(&at)).await?;
        let (value, ()) = futures::try_join!(body(), self.ended(&pod, boundaries))?;
        let pod = self.at_work(Some(&at)).await?;
        let ends: i32 = containers(&pod).map(|container| container.restart_count).sum();
        ensure!(
            usize::try_from(ends) == Ok(boundaries.len()),
            "the operator ended {ends} times, and not once at each of {at}"
        );
        println!("    the operator ended at {}", boundaries.join(", "));
        Ok(value)
    }

    /// Waits until the operator in this pod has ended at all of these.
    async fn ended(&self, pod: &Pod, boundaries: &[&str]) -> Result<()> {
        let name = pod.metadata.name.as_deref().context("a pod has a name")?;
        let pods = self.kubernetes.api::<Pod>(OPERATOR_NAMESPACE);
        let seen = RefCell::new(BTreeSet::<&str>::new());
        let what = format!("the operator ends at {}", boundaries.join(", "));
        await_condition(&what, ENDED, async || {
            let pod = pods.get(name).await?;
            let mut seen = seen.borrow_mut();
            seen.extend(boundaries.iter().copied().filter(|boundary| ended_at(&pod, boundary)));
            let missing = boundaries.iter().copied().filter(|boundary| !seen.contains(boundary));
            let missing: Vec<_> = missing.collect();
            Ok(Seen::when(missing.is_empty(), format!("it never did at {}", missing.join(", "))))
        })
        .await
    }

    /// Waits until an operator is at work that ends at these boundaries, or at none; returns its pod.
    async fn at_work(&self, at: Option<&str>) -> Result<Pod> {
        let what = format!("an operator works that ends at {}", at.unwrap_or("no boundary"));
        await_condition(&what, RESUMED, async || {
            let Some(pod) = operator::at_work(&self.kubernetes).await? else {
                return Ok(Seen::NotYet("none works".to_owned()));
            };
            let ends = failpoints_of(&pod);
            Ok(if ends == at {
                Seen::Yes(pod)
            } else {
                Seen::NotYet(format!("one that ends at {}", ends.unwrap_or("no boundary")))
            })
        })
        .await
    }

    async fn put_back(&self) -> Result<()> {
        await_condition("the operator's Deployment is as it was", PUT_BACK, async || {
            let mut deployment = self.api.get(OPERATOR).await?;
            // Whoever else writes to it at this time writes its status.
            deployment.metadata.resource_version = None;
            deployment.spec = self.original.clone();
            self.api.replace(OPERATOR, &PostParams::default(), &deployment).await?;
            Ok(Seen::Yes(()))
        })
        .await?;
        self.at_work(None).await?;
        Ok(())
    }
}

/// What makes the operator end at these boundaries. The one before goes first and gives its lease back, so that
/// the next one need not wait for it; and what it says last is kept where the harness finds it.
fn armed(at: &str) -> Value {
    let mount = format!("/{VOLUME}");
    json!({"spec": {
        "strategy": {"type": "Recreate", "rollingUpdate": null},
        "template": {"spec": {
            "containers": [{
                "name": CONTAINER,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "env": [{"name": FAILPOINT, "value": at}, {"name": MEMORY, "value": mount}],
                "volumeMounts": [{"name": VOLUME, "mountPath": mount}],
            }],
            "volumes": [{"name": VOLUME, "emptyDir": {}}],
        }},
    }})
}

/// A Deployment without what [`armed`] added in an earlier run that was broken off.
fn plain(mut spec: DeploymentSpec) -> DeploymentSpec {
    let Some(pod) = &mut spec.template.spec else { return spec };
    let count = pod.volumes.as_ref().map(Vec::len);
    pod.volumes.iter_mut().for_each(|volumes| volumes.retain(|volume| volume.name != VOLUME));
    if pod.volumes.as_ref().map(Vec::len) == count {
        return spec;
    }
    for container in &mut pod.containers {
        let (env, mounts) = (&mut container.env, &mut container.volume_mounts);
        env.iter_mut().for_each(|all| all.retain(|one| ![FAILPOINT, MEMORY].contains(&&*one.name)));
        mounts.iter_mut().for_each(|all| all.retain(|mount| mount.name != VOLUME));
        container.termination_message_policy = None;
    }
    spec.strategy = None;
    spec
}

/// Where the operator in a pod is to end.
fn failpoints_of(pod: &Pod) -> Option<&str> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut env = containers.flat_map(|container| container.env.iter().flatten());
    env.find(|variable| variable.name == FAILPOINT)?.value.as_deref()
}

/// Whether the operator in a pod has just ended at a boundary, or the last time before.
fn ended_at(pod: &Pod, boundary: &str) -> bool {
    let states = containers(pod).flat_map(|container| [&container.state, &container.last_state]);
    let mut ends = states.flatten().filter_map(|state| state.terminated.as_ref());
    ends.any(|end| {
        let said = end.message.as_deref().unwrap_or_default();
        let name = format!("\"{boundary}\"");
        let is_said = said.lines().any(|line| line.contains(WORDS) && line.contains(&name));
        end.exit_code == EXIT_FAILPOINT && is_said
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_ended_at_the_boundary_that_it_named_last() {
        let log = "INFO starting\nERROR ending at the failpoint boundary=\"after-grow\"\n";
        let end = |code: i32| json!({"terminated": {"exitCode": code, "message": log}});
        let pod = |states: Value| -> Pod {
            let mut status = json!({"name": "operator", "image": "", "imageID": "", "ready": false,
                                    "restartCount": 1});
            status["state"] = states[0].clone();
            status["lastState"] = states[1].clone();
            let pod = json!({"metadata": {}, "status": {"containerStatuses": [status]}});
            serde_json::from_value(pod).expect("a pod")
        };
        assert!(ended_at(&pod(json!([end(86), {}])), "after-grow"));
        assert!(ended_at(&pod(json!([{"running": {}}, end(86)])), "after-grow"));
        assert!(!ended_at(&pod(json!([end(86), {}])), "after-shrink"));
        assert!(!ended_at(&pod(json!([end(1), {}])), "after-grow"));
    }

    #[test]
    fn what_an_earlier_run_left_is_no_part_of_the_original() {
        let spec = |more: Value| -> DeploymentSpec {
            let mut container = json!({"name": "operator", "env": [{"name": "A", "value": "1"}],
                                       "volumeMounts": []});
            let mut volumes = json!([]);
            for list in ["env", "volumeMounts"] {
                let added = more["spec"]["template"]["spec"]["containers"][0][list].as_array();
                let all = container[list].as_array_mut().expect("a list");
                all.extend(added.into_iter().flatten().cloned());
            }
            let added = more["spec"]["template"]["spec"]["volumes"].as_array();
            let all = volumes.as_array_mut().expect("a list");
            all.extend(added.into_iter().flatten().cloned());
            let pod = json!({"containers": [container], "volumes": volumes});
            let spec = json!({"selector": {}, "template": {"spec": pod}});
            serde_json::from_value(spec).expect("the spec of a Deployment")
        };
        let original = spec(json!({}));
        assert_eq!(plain(spec(armed("after-grow"))), original);
        assert_eq!(plain(original.clone()), original);
    }
}
