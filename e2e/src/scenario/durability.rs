//! Acknowledged keys survive: first the kill of a leading node while they are written, then the kill of
//! all nodes at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flin_check::{History, Record, check};
use tokio::time::Instant;

use crate::harness::{
    FlinCluster, JobOptions, Kubernetes, Output, Space, small_spec, with_namespace,
};
use crate::traffic::Note;
use crate::traffic::recorder::unix_us;

const KEYS: u64 = 50_000;
/// So many keys are acknowledged when the leading node is killed.
const KILL_AT: u64 = 12_000;
/// How long each Job may take.
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    with_namespace(kubernetes, "e2e-durability", async |space| {
        let cluster = FlinCluster::create_available(space, "safe", small_spec()).await?;
        let traffic = Traffic { cluster: cluster.clone(), epoch_us: unix_us() };
        let mut history = History::default();
        history.extend(traffic.write_through_a_kill(space).await?.records);
        history.extend(traffic.read("read-1").await.context("read after the first kill")?.records);
        let first = check(&history)?;
        ensure!(first.is_clean(), "after the kill of a leading node: {first}");
        ensure!(
            first.tally.keys_acknowledged == KEYS,
            "only {} keys",
            first.tally.keys_acknowledged
        );

        let begin = Instant::now();
        space.sigkill(&cluster.pods().await?).await.context("kill all nodes")?;
        history.extend(traffic.read("read-2").await.context("read after all kills")?.records);
        let served_again = begin.elapsed().as_secs();
        let second = check(&history)?;
        ensure!(second.is_clean(), "after the kill of all nodes: {second}");
        cluster.await_available().await?;
        let restarts = restarts(&cluster).await?;
        ensure!(restarts >= 4, "only {restarts} restarts were counted: were they killed at all?");
        Ok(format!("{}; all read again {served_again} s after the last kill began", second.tally))
    })
    .await
}

/// The keys of this scenario and how Jobs come to them.
struct Traffic {
    cluster: FlinCluster,
    epoch_us: u64,
}

impl Traffic {
    async fn write_through_a_kill(&self, space: &Space) -> Result<Output> {
        let mut job = space.start_job(self.options("write", "write"), PATIENCE).await?;
        let mut output = Output::default();
        let enough = |note: &Note| matches!(note, Note::Progress { done } if *done >= KILL_AT);
        job.until(&mut output, enough).await.context("write until the kill")?;
        let victim = self.cluster.leading_pod().await?;
        // The kill and the log are followed at once: the kill comes while writes go on.
        let kill = async {
            space.sigkill(std::slice::from_ref(&victim)).await.context("kill the leading node")?;
            anyhow::Ok(unix_us().saturating_sub(self.epoch_us))
        };
        let (killed_at, output) = futures::join!(kill, job.finish_into(output));
        let (killed_at, output) = (killed_at?, output.context("write through the kill")?);
        let later = |record: &Record| matches!(record, Record::Write(w) if w.from > killed_at);
        ensure!(output.records.iter().any(later), "everything was written before the kill came");
        Ok(output)
    }

    async fn read(&self, name: &str) -> Result<Output> {
        self.cluster.space.run_job(self.options(name, "read"), PATIENCE).await
    }

    fn options(&self, name: &str, verb: &str) -> JobOptions {
        let args = [
            "traffic",
            verb,
            "--target",
            &self.cluster.address(),
            "--keys",
            &KEYS.to_string(),
            "--connections",
            "32",
            "--epoch-us",
            &self.epoch_us.to_string(),
        ];
        self.cluster.job(name, args.map(str::to_owned).into())
    }
}

async fn restarts(cluster: &FlinCluster) -> Result<i32> {
    let statuses = cluster.pods().await?.into_iter().filter_map(|pod| pod.status);
    Ok(statuses.flat_map(|s| s.container_statuses).flatten().map(|c| c.restart_count).sum())
}
