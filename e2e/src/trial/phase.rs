//! One change of the number of nodes, from the wish to the end: whether it went as it should, and what it cost
//! those who read and wrote meanwhile.

use std::fmt::{self, Debug};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Trial;
use super::minimum::{Held, minimum_moves};
use super::sent::Sent;
use crate::harness::{Passed, Seen, Sight, await_condition, events_since};
use crate::load::report::Second;
use crate::traffic::recorder::unix_us;
use crate::traffic::watch::ClusterFacts;

/// How long the load runs undisturbed before a change, to compare with.
const BEFORE: Duration = Duration::from_secs(4);
/// How long volumes may take to go after their pods.
const VOLUMES_GO: Duration = Duration::from_secs(30);
/// How long a node may take to let a replica go that was moved elsewhere.
const ORPHANS_GO: Duration = Duration::from_secs(30);
/// How long the last event may follow the status.
const EVENTS_LAG: Duration = Duration::from_secs(10);

/// A change of the number of nodes that came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// From the wish to a settled status.
    pub(crate) seconds: f64,
    pub(crate) replicas_moved: u64,
    /// The fewest with which it could have been done.
    pub(crate) replicas_minimum: u64,
    pub(crate) bytes_moved: u64,
    /// Keys and values that nodes sent each other in snapshots.
    pub(crate) bytes_sent: u64,
    /// The fewest replicas, times the live data of a replica on average.
    pub(crate) bytes_minimum: u64,
    pub(crate) impact: Impact,
}

/// What the clients went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Impact {
    /// The longest that a writer that routes itself was without an acknowledgement, milliseconds.
    pub(crate) longest_routed_ms: u64,
    /// The longest that a writer that knows only the Service was, milliseconds.
    pub(crate) longest_proxied_ms: u64,
    /// Acknowledged writes in a second: on average before, on average meanwhile, and in the worst second.
    pub(crate) writes_before: u64,
    pub(crate) writes: u64,
    pub(crate) writes_lowest: u64,
    /// Attempts that had to be repeated.
    pub(crate) retries: u64,
}

impl Trial {
    /// Changes the number of nodes of a settled cluster under load and waits for the end of it.
    ///
    /// # Errors
    /// When it does not come to an end, moved too much, left something behind, or was not told.
    pub(crate) async fn scale_to(&self, to: u32, patience: Duration) -> Result<Phase> {
        sleep(BEFORE).await;
        let before = self.view.now();
        let (from, held) = held(&before, to)?;
        let (mut sent, begin_us) = (Sent::begin(&self.cluster).await?, unix_us());
        self.cluster.scale(to).await?;
        let after = sent.count_during(self.settled(to, patience)).await?;
        let end_us = unix_us();
        self.told(begin_us, from, to).await?;
        self.left_nothing(to).await?;
        let (old, new) = before.cluster().zip(after.cluster()).context("the cluster was seen")?;
        let phase = Phase {
            from,
            to,
            seconds: Duration::from_micros(end_us - begin_us).as_secs_f64(),
            replicas_moved: new.replicas_moved - old.replicas_moved,
            replicas_minimum: minimum_moves(&held, to),
            bytes_moved: new.bytes_moved - old.bytes_moved,
            bytes_sent: sent.bytes(),
            bytes_minimum: minimum_moves(&held, to) * self.replica_bytes(new).await?,
            impact: self.impact(begin_us, end_us).await?,
        };
        println!("    {phase}");
        let (moved, minimum) = (phase.replicas_moved, phase.replicas_minimum);
        ensure!(
            moved * 10 <= minimum * 12,
            "{moved} replicas were moved, {minimum} would have done"
        );
        Ok(phase)
    }

    /// The live data of a replica of a partition, on average.
    async fn replica_bytes(&self, now: &ClusterFacts) -> Result<u64> {
        let replicas = u64::from(self.partitions * now.replication_factor).max(1);
        Ok(self.cluster.metric("flin_data_bytes").await? / replicas)
    }

    /// Waits until so many nodes are there, all is in balance, and the status says so.
    ///
    /// # Errors
    /// When that does not come about.
    pub(crate) async fn settled(&self, nodes: u32, patience: Duration) -> Result<Sight> {
        let what = format!("{nodes} nodes are there and in balance, and the status says so");
        self.view.until(&what, patience, |sight| sight.is_settled(nodes)).await
    }

    /// The status showed the steps, and the events tell the story from its beginning to its end.
    async fn told(&self, begin_us: u64, from: u32, to: u32) -> Result<()> {
        let (steps, story): (&[&str], &[&str]) = if to > from {
            let story = &["ScaleUpStarted", "NodeJoined", "RebalanceStarted", "ScaleUpFinished"];
            (&["Joining", "Rebalancing"], story)
        } else {
            let story = &["ScaleDownStarted", "Drained", "NodeRemoved", "ScaleDownFinished"];
            (&["Draining", "Removing", "Shrinking"], story)
        };
        let passed = self.view.passed_since(begin_us);
        let is_shown = Passed::shows_scale(&passed, steps)
            && passed.iter().any(|passed| passed.phase == "Scaling");
        ensure!(is_shown, "{from} -> {to} was to show Scaling and {steps:?}; it showed {passed:?}");
        await_condition(&format!("the events tell of {story:?}"), EVENTS_LAG, async || {
            let space = &self.cluster.space;
            let events = events_since(space, &self.cluster.name, begin_us).await?;
            let is_told = |part: &&str| events.iter().any(|(reason, _)| reason == part);
            Ok(Seen::when(story.iter().all(is_told), format!("{events:?}")))
        })
        .await
    }

    /// As [`Trial::left_nothing`], of as many nodes as are asked for.
    ///
    /// # Errors
    /// When something stays.
    pub(super) async fn left_nothing_behind(&self) -> Result<()> {
        let nodes = self.cluster.get().await?.data["spec"]["replicas"].as_u64();
        self.left_nothing(u32::try_from(nodes.context("spec.replicas")?)?).await
    }

    /// Waits until pods, volumes and replicas are those of `nodes` nodes; there is one Secret.
    ///
    /// # Errors
    /// When something stays.
    pub(crate) async fn left_nothing(&self, nodes: u32) -> Result<()> {
        await_condition("pods and volumes are gone with their nodes", VOLUMES_GO, async || {
            let (pods, volumes) =
                (self.cluster.pods().await?.len(), self.count::<PersistentVolumeClaim>().await?);
            let fit = (pods, volumes) == (nodes as usize, nodes as usize);
            Ok(Seen::when(fit, format!("{pods} pods and {volumes} volumes")))
        })
        .await?;
        let now = self.view.now();
        let factor = now.cluster().context("no node was heard yet")?.replication_factor;
        // The meta group has as many replicas as each partition.
        let wanted = u64::from((self.partitions + 1) * factor);
        await_condition(
            "nodes host the replicas of the cluster and no others",
            ORPHANS_GO,
            async || {
                let hosted = self.cluster.metric("flin_raft_replicas").await?;
                Ok(Seen::when(hosted == wanted, format!("{hosted} replicas, not {wanted}")))
            },
        )
        .await?;
        let secrets = self.count::<Secret>().await?;
        ensure!(secrets == 1, "there are {secrets} Secrets, not 1");
        Ok(())
    }

    async fn count<K>(&self) -> Result<usize>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api = self.cluster.space.api::<K>();
        Ok(api.list_metadata(&ListParams::default()).await?.items.len())
    }
}

/// How many nodes there are, and what each holds when `to` are to stay: those of the lowest ordinals.
fn held(sight: &Sight, to: u32) -> Result<(u32, Vec<Held>)> {
    let members = &sight.cluster().context("no node was heard yet")?.members;
    let held = members.iter().map(|member| {
        let ordinal = member.name.rsplit('-').next().and_then(|ordinal| ordinal.parse().ok());
        let ordinal: u32 = ordinal.with_context(|| format!("{} has no ordinal", member.name))?;
        let meta = member.holds.saturating_sub(member.replicas);
        Ok(Held { stays: ordinal < to, replicas: member.replicas, meta })
    });
    Ok((u32::try_from(members.len())?, held.collect::<Result<_>>()?))
}

impl Impact {
    /// Sums up the seconds between two moments, and compares with those just before.
    pub(super) fn of(seconds: &[Second], from_us: u64, to_us: u64) -> Self {
        let before_us = from_us.saturating_sub(BEFORE.as_micros().try_into().unwrap_or(u64::MAX));
        // A second that began before and ended after a moment belongs to what came after it.
        let within = |from: u64, to: u64| {
            seconds.iter().filter(move |second| second.at_us > from && second.at_us <= to)
        };
        let mean = |from: u64, to: u64| {
            let writes: u64 = within(from, to).map(|second| second.writes).sum();
            writes / (within(from, to).count() as u64).max(1)
        };
        let most = |of: fn(&Second) -> u64| within(from_us, to_us).map(of).max().unwrap_or(0);
        Self {
            longest_routed_ms: most(|second| second.routed_ms),
            longest_proxied_ms: most(|second| second.proxied_ms),
            writes_before: mean(before_us, from_us),
            writes: mean(from_us, to_us),
            writes_lowest: within(from_us, to_us).map(|s| s.writes).min().unwrap_or(0),
            retries: within(from_us, to_us).map(|second| second.retries).sum(),
        }
    }

    /// The longest that any writer was without an acknowledgement, milliseconds.
    pub(crate) fn longest_ms(&self) -> u64 {
        self.longest_routed_ms.max(self.longest_proxied_ms)
    }
}

impl Phase {
    /// How many times the fewest bytes were sent; none when nothing had to be.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn bytes_ratio(&self) -> Option<f64> {
        (self.bytes_minimum > 0).then(|| self.bytes_sent as f64 / self.bytes_minimum as f64)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, seconds, replicas_moved, replicas_minimum, impact, .. } = self;
        write!(
            out,
            "{from} -> {to} in {seconds:.1} s: {replicas_moved} replicas moved ({replicas_minimum} at least), \
             {:.1} MiB sent ({:.1} at least); {impact}",
            mib(self.bytes_sent),
            mib(self.bytes_minimum)
        )
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "longest stall {} ms routed, {} ms proxied; {} writes/s before, {} meanwhile, {} in the worst \
             second; {} retries",
            self.longest_routed_ms,
            self.longest_proxied_ms,
            self.writes_before,
            self.writes,
            self.writes_lowest,
            self.retries
        )
    }
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_impact_is_that_of_the_seconds_between() {
        let second = |at: u64, writes, routed_ms| Second {
            at_us: at * 1_000_000,
            writes,
            routed_ms,
            retries: 1,
            ..Second::default()
        };
        let seconds = [
            second(8, 90, 9_999),
            second(9, 100, 5),
            second(10, 110, 5),
            second(11, 40, 700),
            second(12, 80, 20),
        ];
        let impact = Impact::of(&seconds, 10_000_000, 12_000_000);
        assert_eq!((impact.writes_before, impact.writes, impact.writes_lowest), (100, 60, 40));
        assert_eq!((impact.longest_ms(), impact.retries), (700, 2));
    }
}
