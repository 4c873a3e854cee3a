//! How a node finds its cluster when nobody whom its bootstrap file or its disk names is left.

use std::collections::BTreeSet;
use std::fs;

use flin_proto::admin::Cluster as Answer;

use super::cluster::Cluster;
use super::scale::settled;
use super::{assert_keys, write_keys};

const PARTITIONS: u16 = 4;

/// Whether every one of `members` has a replica of each partition and of the meta group.
fn replicated(answer: &Answer, members: usize) -> bool {
    let whole = u32::from(PARTITIONS) + 1;
    settled(answer, members) && answer.members.iter().all(|member| member.holds == whole)
}

/// A cluster that node 0 founded alone, and whose keys are on two more nodes by now. Node 0 was killed and has
/// lost its disk; it is yet to start again, with the address of another node.
async fn founder_that_lost_its_disk() -> Cluster {
    let mut cluster = Cluster::start(1, PARTITIONS, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 500).await;
    assert_eq!((cluster.add(), cluster.add()), (1, 2));
    cluster.ask(0, |answer| answer.members.len() == 3).await;
    cluster.replicate(0, 3).await;
    cluster.ask(0, |answer| replicated(answer, 3)).await;
    cluster.ready().await;
    cluster.kill(0);
    fs::remove_dir_all(cluster.data(0)).expect("the data directory");
    cluster.set(0, "join-address", cluster.peer_address(1));
    cluster
}

/// Waits until node 0 is a new member with everything, and finds every key with it and without another one.
async fn assert_node_0_came_back(cluster: &mut Cluster) {
    let ids = |answer: &Answer| -> BTreeSet<u64> {
        answer.members.iter().map(|member| member.node_id).collect()
    };
    // What it was before is replaced, emptied and removed.
    cluster.ask(1, |answer| ids(answer) == [2, 3, 4].into() && replicated(answer, 3)).await;
    assert_eq!(cluster.member(1, 0).await.node_id, 4);
    cluster.ready().await;
    cluster.kill(1);
    assert_keys(&mut cluster.redis(0).await, "k", 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_founder_that_lost_its_disk_joins_those_that_came_later() {
    let mut cluster = founder_that_lost_its_disk().await;
    cluster.launch(0);
    assert_node_0_came_back(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_founder_does_not_found_again_when_its_bootstrap_file_is_old() {
    let mut cluster = founder_that_lost_its_disk().await;
    cluster.write_bootstrap("Forming");
    cluster.launch(0);
    assert_node_0_came_back(&mut cluster).await;
    assert!(cluster.log(0).contains("the bootstrap file is old"), "{}", cluster.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_until_all_it_knew_were_gone_finds_the_others() {
    let mut cluster = Cluster::start(1, PARTITIONS, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 100).await;
    cluster.pause(0, true).await;
    let absent = cluster.add();
    cluster.ask(absent, |answer| answer.members.len() == 2).await;
    cluster.ready().await;
    cluster.kill(absent);
    let (founder, absentee) = (cluster.member(0, 0).await, cluster.member(0, absent).await);

    let stays = cluster.add();
    cluster.ask(stays, |answer| answer.members.len() == 3).await;
    cluster.drain(0, &[founder.node_id, absentee.node_id]).await;
    cluster.pause(0, false).await;
    let is_empty = |answer: &Answer| {
        answer.members.iter().any(|m| m.node_id == founder.node_id && m.holds == 0)
    };
    cluster.ask(stays, is_empty).await;
    cluster.remove(stays, founder.node_id).await;
    cluster.ended(0).await;

    cluster.set(absent, "join-address", cluster.peer_address(stays));
    cluster.launch(absent);
    let knows = |answer: &Answer| answer.members.iter().all(|m| m.node_id != founder.node_id);
    cluster.ask(absent, knows).await;
    // It takes part again: what it does not hold it finds at the other.
    cluster.ready().await;
    assert_keys(&mut cluster.redis(absent).await, "k", 100).await;
}
