//! `flin cluster recover`: going on after nodes were lost for good.

use std::time::Duration;

use clap::Args;
use flin_proto::admin::recover_response::Meta;
use flin_proto::admin::{Cluster, RecoverRequest, RecoverResponse};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{find_member, node_label};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, print};
use crate::progress::ProgressLine;
use crate::units::counted;

/// The pause between steps, in which nodes start again.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long nodes may take to start again and to elect leaders.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is lost, and whether that is accepted.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wish {
    /// The nodes whose disks are lost for good: names or ids, as `flin cluster members` lists them
    #[arg(required = true, value_name = "NODE")]
    lost: Vec<String>,
    /// Go on without what only these nodes had
    #[arg(long)]
    accept_data_loss: bool,
}

/// What is left of a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Remains {
    lost_node_ids: Vec<u64>,
    #[serde(skip)]
    lost: Vec<String>,
    partitions: u32,
    /// Partitions that keep their quorum.
    kept: u32,
    /// Partitions of which one replica goes on alone.
    alone: Vec<u32>,
    /// Partitions that begin empty.
    empty: Vec<u32>,
    /// `kept`, `alone` or `rebuilt`.
    meta: &'static str,
    /// Whether the cluster goes on with that.
    recovered: bool,
}

/// Tells what is left without the nodes that are lost, and with consent goes on with it.
///
/// # Errors
/// [`Failure::UnknownNode`], [`Failure::Refused`] when a node named as lost answers or another one does not,
/// [`Failure::NoConsent`], [`Failure::NotRecovered`], and those of the connection.
pub(crate) async fn run(
    connection: &mut Connection,
    format: Format,
    wish: &Wish,
) -> Result<(), Failure> {
    let cluster = connection.cluster().await?;
    let find = |given: &String| find_member(&cluster, given).map(|member| member.node_id);
    let lost_node_ids = wish.lost.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let request = RecoverRequest {
        cluster_id: cluster.cluster_id.clone(),
        lost_node_ids,
        accept_data_loss: false,
    };
    let left = connection.recover(request.clone()).await?;
    let mut remains = Remains::of(&cluster, &request.lost_node_ids, left);
    if wish.accept_data_loss {
        go_on(connection, RecoverRequest { accept_data_loss: true, ..request }).await?;
        remains.recovered = true;
        return print(&remains, format);
    }
    print(&remains, format)?;
    Err(Failure::NoConsent)
}

/// Does one step after the other. Nodes that start again do not answer for a while, which looks like a loss.
async fn go_on(connection: &mut Connection, request: RecoverRequest) -> Result<(), Failure> {
    let began = Instant::now();
    let mut line = ProgressLine::new();
    loop {
        match connection.recover(request.clone()).await {
            Ok(answer) if answer.done => return Ok(()),
            Ok(_) => line.show("nodes start again"),
            Err(failure) if began.elapsed() > PATIENCE => {
                return Err(Failure::NotRecovered { source: Box::new(failure) });
            }
            Err(failure) => line.show(&format!("waiting: {}", first_line(&failure))),
        }
        sleep(INTERVAL).await;
    }
}

fn first_line(failure: &Failure) -> String {
    failure.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Remains {
    fn of(cluster: &Cluster, lost: &[u64], left: RecoverResponse) -> Remains {
        let meta = match left.meta() {
            Meta::Kept => "kept",
            Meta::Alone => "alone",
            Meta::Rebuilt => "rebuilt",
        };
        Remains {
            lost_node_ids: lost.to_vec(),
            lost: lost.iter().map(|node| node_label(cluster, *node)).collect(),
            partitions: cluster.partitions,
            kept: left.kept,
            alone: left.alone,
            empty: left.empty,
            meta,
            recovered: false,
        }
    }
}

impl Answer for Remains {
    fn table(&self) -> String {
        let go = if self.recovered { "went on" } else { "would go on" };
        let mut told = format!("lost for good: {}\n", self.lost.join(", "));
        told += &format!("{} of {} keep their quorum\n", self.kept, partitions(self.partitions));
        if !self.alone.is_empty() {
            told += &format!(
                "{} {go} with one replica each: what only the lost nodes had acknowledged is lost\n",
                named(&self.alone)
            );
        }
        if !self.empty.is_empty() {
            let begin = if self.recovered { "began" } else { "would begin" };
            told += &format!("{} {begin} empty: no replica is left\n", named(&self.empty));
        }
        match self.meta {
            "alone" => told += &format!("the meta group {go} with one replica\n"),
            "rebuilt" => told += "the meta group is made anew from what the nodes know\n",
            _ => {}
        }
        if self.recovered {
            told += "the cluster goes on; `flin cluster status` tells when every replica is made anew\n";
        }
        told
    }
}

/// `3 partitions (4, 17, 63)`.
fn named(numbers: &[u32]) -> String {
    let list: Vec<_> = numbers.iter().map(u32::to_string).collect();
    let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    format!("{} ({})", partitions(count), list.join(", "))
}

fn partitions(count: u32) -> String {
    counted(count.into(), "partition")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::healthy;

    #[test]
    fn numbers_are_told_before_and_after() {
        let mut left =
            RecoverResponse { kept: 61, alone: vec![4, 17], empty: vec![63], ..Default::default() };
        left.set_meta(Meta::Alone);
        let mut remains = Remains::of(&healthy(), &[2, 3], left);
        assert_eq!(
            remains.table(),
            "lost for good: 2 (demo-nodes-1), 3 (demo-nodes-2)\n\
             61 of 64 partitions keep their quorum\n\
             2 partitions (4, 17) would go on with one replica each: what only the lost nodes had \
             acknowledged is lost\n\
             1 partition (63) would begin empty: no replica is left\n\
             the meta group would go on with one replica\n"
        );
        remains.recovered = true;
        let told = remains.table();
        assert!(told.contains("(4, 17) went on") && told.contains("(63) began empty"), "{told}");
        let kept = RecoverResponse { kept: 64, ..Default::default() };
        let told = Remains::of(&healthy(), &[2], kept).table();
        assert_eq!(
            told,
            "lost for good: 2 (demo-nodes-1)\n64 of 64 partitions keep their quorum\n"
        );
    }
}
