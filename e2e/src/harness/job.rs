//! Jobs inside the cluster that run this same program, followed line by line.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flin_check::Record;
use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::batch::v1::Job as KubernetesJob;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::condition::{Seen, await_condition};
use super::namespace::Space;
use crate::traffic::{Line, Note};

/// How long a pod of ours may take to start.
const START: Duration = Duration::from_secs(90);
/// The user that the images run as.
const USER: i64 = 65_532;

/// What a Job runs, and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobOptions {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// The Secret whose `client-password` becomes the password of the traffic.
    pub(crate) password_secret: Option<String>,
    /// The machine it must run on; any when absent.
    pub(crate) machine: Option<String>,
    /// Whether it sees the processes of its machine.
    pub(crate) sees_processes: bool,
}

/// A running Job and its output so far.
pub(crate) struct Job {
    space: Space,
    pub(crate) pod: String,
    lines: Option<Lines>,
    taken: usize,
    deadline: Instant,
}

type Lines = futures::io::Lines<Pin<Box<dyn AsyncBufRead + Send>>>;

/// Everything that a Job said.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) records: Vec<Record>,
    pub(crate) notes: Vec<Note>,
}

impl Space {
    /// Starts a Job and waits until its pod runs.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start_job(&self, options: JobOptions, patience: Duration) -> Result<Job> {
        let (deadline, name) = (Instant::now() + patience, options.name.clone());
        let job = manifest(&options, &self.kubernetes.image, patience);
        let job: KubernetesJob = serde_json::from_value(job).context("the Job's manifest")?;
        let created = self.api().create(&PostParams::default(), &job).await;
        created.with_context(|| format!("create Job {name}"))?;
        let label = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        let pods = self.api::<Pod>();
        let pod = await_condition(&format!("Job {name} runs"), START, async || {
            let list = pods.list(&label).await?;
            let Some(pod) = list.items.into_iter().next() else {
                return Ok(Seen::NotYet("no pod".to_owned()));
            };
            let status = pod.status.unwrap_or_default();
            let phase = status.phase.unwrap_or_default();
            let states = status.container_statuses.unwrap_or_default();
            let waiting = states.into_iter().find_map(|c| c.state?.waiting?.reason);
            Ok(match phase.as_str() {
                "Running" | "Succeeded" | "Failed" => Seen::Yes(pod.metadata.name),
                _ => Seen::NotYet(format!("{phase} {}", waiting.unwrap_or_default())),
            })
        })
        .await?;
        let pod = pod.context("a pod has a name")?;
        Ok(Job { space: self.clone(), pod, lines: None, taken: 0, deadline })
    }

    /// Runs a Job to its end.
    ///
    /// # Errors
    /// When it does not start, does not end, or says that it failed.
    pub(crate) async fn run_job(&self, options: JobOptions, patience: Duration) -> Result<Output> {
        self.start_job(options, patience).await?.finish().await
    }
}

impl Job {
    /// The next line; `None` after the last one of an ended pod.
    ///
    /// # Errors
    /// When the Job takes longer than it was given.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(lines) = &mut self.lines {
                let next = futures::StreamExt::next(lines);
                let next = timeout_at(self.deadline, next).await;
                let next = next.with_context(|| format!("{} takes too long", self.pod))?;
                if let Some(Ok(line)) = next {
                    self.taken += 1;
                    return Ok(Some(Line::parse(&line)));
                }
                // The stream ended or broke; only the pod knows whether that was all.
                self.lines = None;
                if self.ended().await? && !self.more().await? {
                    return Ok(None);
                }
            }
            if Instant::now() > self.deadline {
                bail!("{} takes too long", self.pod);
            }
            self.lines = Some(self.follow().await?);
        }
    }

    /// Waits for a note of one kind, collecting everything on the way.
    ///
    /// # Errors
    /// When the Job ends before.
    pub(crate) async fn until(
        &mut self,
        output: &mut Output,
        is_it: impl Fn(&Note) -> bool,
    ) -> Result<Note> {
        while let Some(line) = self.next().await? {
            if let Line::Note(note) = &line
                && is_it(note)
            {
                return Ok(note.clone());
            }
            output.take(line, &self.pod)?;
        }
        bail!("{} ended early, after {} notes", self.pod, output.notes.len())
    }

    /// Collects everything up to the end.
    ///
    /// # Errors
    /// When the Job says that it failed, or ends without saying that it is finished.
    pub(crate) async fn finish(self) -> Result<Output> {
        self.finish_into(Output::default()).await
    }

    /// As [`Job::finish`], adding to what was collected before.
    ///
    /// # Errors
    /// As [`Job::finish`].
    pub(crate) async fn finish_into(mut self, mut output: Output) -> Result<Output> {
        while let Some(line) = self.next().await? {
            if line == Line::Note(Note::Finished {}) {
                return Ok(output);
            }
            output.take(line, &self.pod)?;
        }
        bail!("{} ended without finishing", self.pod)
    }

    async fn follow(&self) -> Result<Lines> {
        let options = LogParams { follow: true, ..Default::default() };
        let stream = self.space.api::<Pod>().log_stream(&self.pod, &options).await;
        let stream = stream.with_context(|| format!("follow {}", self.pod))?;
        let boxed: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(stream);
        let mut lines = boxed.lines();
        for _ in 0..self.taken {
            if futures::StreamExt::next(&mut lines).await.is_none() {
                break;
            }
        }
        Ok(lines)
    }

    async fn ended(&self) -> Result<bool> {
        let pod = self.space.api::<Pod>().get(&self.pod).await?;
        let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
        Ok(phase == "Succeeded" || phase == "Failed")
    }

    /// Whether an ended pod said more than was taken.
    async fn more(&self) -> Result<bool> {
        let text = self.space.api::<Pod>().logs(&self.pod, &LogParams::default()).await?;
        Ok(text.lines().count() > self.taken)
    }
}

impl Output {
    fn take(&mut self, line: Line, pod: &str) -> Result<()> {
        match line {
            Line::Record(record) => self.records.push(record),
            Line::Note(Note::Problem { text }) => bail!("{pod}: {text}"),
            Line::Note(note) => self.notes.push(note),
            Line::Other(text) => eprintln!("    {pod}: {text}"),
        }
        Ok(())
    }
}

fn manifest(options: &JobOptions, image: &str, patience: Duration) -> Value {
    let mut env = vec![json!({"name": "RUST_LIB_BACKTRACE", "value": "0"})];
    if let Some(secret) = &options.password_secret {
        let source = json!({"secretKeyRef": {"name": secret, "key": "client-password"}});
        env.push(json!({"name": "FLIN_PASSWORD", "valueFrom": source}));
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{
            "name": "e2e",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": options.args,
            "env": env,
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    });
    if let Some(machine) = &options.machine {
        pod["nodeName"] = json!(machine);
    }
    if options.sees_processes {
        pod["hostPID"] = json!(true);
    }
    json!({
        "metadata": {"name": options.name},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": patience.as_secs().max(1),
            "template": {"spec": pod},
        },
    })
}
