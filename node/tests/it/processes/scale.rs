//! What happens to keys and nodes when nodes come and go.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flin_proto::admin::Cluster as Answer;
use redis::AsyncCommands;

use super::cluster::{Cluster, wait_for_exit};
use super::{UNUSABLE_DATA, assert_keys, count_keys, retried, write_keys, write_until};

/// The exit code of a node that the cluster let go.
const RETIRED: i32 = 79;
/// The exit code of a node that was told something impossible.
const USAGE: i32 = 64;

/// Whether nothing is left to be moved and every partition has all its replicas.
pub(super) fn settled(answer: &Answer, members: usize) -> bool {
    answer.members.len() == members
        && answer.leaderless == 0
        && answer.under_replicated == 0
        && answer.rebalance.as_ref().is_some_and(|r| r.balanced && r.replicas_left == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_get_their_share_while_clients_write() {
    let mut cluster = Cluster::start(3, 15, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 1_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(cluster.redis(1).await, stop.clone()));
    assert_eq!((cluster.add(), cluster.add()), (3, 4));
    let answer = cluster.ask(0, |answer| settled(answer, 5)).await;
    // 45 replicas of partitions on 5 nodes; the 3 of the meta group count too.
    for member in &answer.members {
        assert!((8..=10).contains(&member.holds), "{member:?}");
        assert!(member.node_id <= 5 && member.leaders > 0, "{member:?}");
        assert!(member.disk_total_bytes > 0, "{member:?}");
    }
    cluster.ready().await;
    stop.store(true, Ordering::Relaxed);
    let recorded = writer.await.expect("the writer ended");
    assert!(recorded.maybe.is_empty(), "a client saw errors: {:?}", recorded.maybe);
    recorded.check(&cluster.redis(4).await).await;
    assert_keys(&mut cluster.redis(3).await, "k", 1_000).await;
    // What the new nodes hold is whole: no partition misses the replica that is gone.
    cluster.kill(0);
    assert_keys(&mut cluster.redis(4).await, "k", 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_comes_back_as_a_new_node_and_every_replica_is_made_anew() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 1_000).await;
    cluster.kill(2);
    fs::remove_dir_all(cluster.data(2)).expect("the data directory");
    // A write whose leader was just killed has no known outcome; writing the same again does no harm.
    let redis = cluster.redis(0).await;
    for i in 0..100 {
        retried(|| {
            let mut redis = redis.clone();
            async move { redis.set::<_, _, ()>(format!("late{i}"), format!("value-{i}")).await }
        })
        .await;
    }
    cluster.launch(2);
    // Its old self is replaced, emptied and removed; what is left are three members with new replicas on one.
    let member = |answer: &Answer| answer.members.iter().find(|m| m.node_id == 4).cloned();
    let answer = cluster.ask(0, |answer| settled(answer, 3) && member(answer).is_some()).await;
    let member = member(&answer).expect("it was there");
    assert_eq!((member.name.as_str(), member.holds), ("n2", 9), "{member:?}");
    cluster.ready().await;
    // The new replicas are as good as the others: with one of those they are a majority.
    cluster.kill(0);
    let mut redis = cluster.redis(2).await;
    assert_keys(&mut redis, "k", 1_000).await;
    assert_keys(&mut redis, "late", 100).await;
    assert_eq!(count_keys(&mut redis).await, 1_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_emptied_retires_and_joins_anew_with_the_same_directory() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 1_000).await;
    let node = cluster.add();
    cluster.ask(0, |answer| settled(answer, 4)).await;
    let first = cluster.member(0, node).await;
    assert!(first.holds > 0, "{first:?}");

    cluster.drain(0, &[first.node_id]).await;
    let empty =
        |answer: &Answer| answer.members.iter().any(|m| m.node_id == first.node_id && m.holds == 0);
    cluster.ask(0, empty).await;
    cluster.remove(1, first.node_id).await;
    let status = cluster.ended(node).await;
    assert_eq!(status.code(), Some(RETIRED), "{}", cluster.log(node));
    assert!(cluster.log(node).contains("removed from the cluster; starts anew as a new node"));
    assert!(cluster.data(node).join("retired").exists());
    cluster.ask(0, |answer| settled(answer, 3)).await;
    assert_keys(&mut cluster.redis(0).await, "k", 1_000).await;

    cluster.launch(node);
    cluster.ask(0, |answer| settled(answer, 4)).await;
    let second = cluster.member(0, node).await;
    assert!(second.node_id > first.node_id && second.holds > 0, "{second:?}");
    assert!(!cluster.data(node).join("retired").exists());
    cluster.ready().await;
    assert_keys(&mut cluster.redis(node).await, "k", 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_removed_while_it_was_away_learns_so_and_retires() {
    let mut cluster = Cluster::start(3, 4, &[]).await;
    let node = cluster.add();
    cluster.ask(0, |answer| settled(answer, 4)).await;
    let member = cluster.member(0, node).await;
    cluster.drain(0, &[member.node_id]).await;
    let empty = |answer: &Answer| {
        answer.members.iter().any(|m| m.node_id == member.node_id && m.holds == 0)
    };
    cluster.ask(0, empty).await;
    cluster.kill(node);
    cluster.remove(1, member.node_id).await;
    cluster.ask(0, |answer| settled(answer, 3)).await;
    cluster.launch(node);
    let status = cluster.ended(node).await;
    assert_eq!(status.code(), Some(RETIRED), "{}", cluster.log(node));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashes_while_it_joins_becomes_one_member_and_not_two() {
    let mut cluster = Cluster::start(3, 4, &[]).await;
    cluster.pause(0, true).await;
    let node = cluster.add();
    cluster.ask(0, |answer| answer.members.len() == 4).await;
    cluster.ready().await;
    let member = cluster.member(0, node).await;
    assert_eq!(member.holds, 0, "nothing is moved to it yet");
    assert!(!cluster.data(node).join("joining").exists(), "a member needs no nonce");
    let state = fs::read(cluster.data(node).join("cluster.json")).expect("the state is kept");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    let nonce = state["members"][member.node_id.to_string()]["nonce"].as_str().expect("a nonce");

    // As if the crash had come after the cluster agreed and before the node knew: there is the nonce, and
    // nothing else.
    cluster.kill(node);
    fs::remove_dir_all(cluster.data(node)).expect("the data directory");
    fs::create_dir(cluster.data(node)).expect("an empty directory");
    fs::write(cluster.data(node).join("joining"), nonce).expect("the nonce");
    cluster.launch(node);
    cluster.ready().await;
    let identity = fs::read_to_string(cluster.data(node).join("identity")).expect("an identity");
    assert!(identity.contains(&format!("node = {}\n", member.node_id)), "{identity}");
    assert!(!cluster.data(node).join("joining").exists());
    cluster.pause(0, false).await;
    cluster.ask(0, |answer| settled(answer, 4)).await;
    assert_eq!(cluster.member(0, node).await.node_id, member.node_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_reach_the_cluster_is_alive_and_not_ready_until_it_can() {
    let mut cluster = Cluster::start(1, 2, &[]).await;
    cluster.kill(0);
    let node = cluster.add();
    cluster.wait_for_log(node, "joining the cluster").await;
    assert!(cluster.http(node, "/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = cluster.http(node, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("the node is joining the cluster\n"), "{answer}");
    let nonce = fs::read_to_string(cluster.data(node).join("joining")).expect("a nonce");
    // Told to stop, it does, and goes on under the same nonce.
    assert_eq!(cluster.terminate(node).await.code(), Some(0), "{}", cluster.log(node));
    cluster.launch(node);
    cluster.launch(0);
    cluster.ask(0, |answer| answer.members.len() == 2).await;
    cluster.wait_for_log(node, &format!("nonce=\"{nonce}\"")).await;
    cluster.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_does_not_say_where_it_is_is_told_what_to_set() {
    let mut cluster = Cluster::start(1, 2, &[]).await;
    let node = cluster.reserve();
    let mut command = cluster.command(node);
    command.env_remove("FLIN_ADVERTISED_CLIENT_ADDRESS");
    let mut process = command.spawn().expect("flin-node starts");
    assert_eq!(wait_for_exit(&mut process).await.code(), Some(USAGE), "{}", cluster.log(node));
    assert!(cluster.log(node).contains("set advertised_peer_address"), "{}", cluster.log(node));
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_volumes_are_refused_by_name() {
    let mut cluster = Cluster::start(3, 2, &[]).await;
    cluster.kill(1);
    cluster.kill(2);
    let aside = cluster.data(1).with_extension("aside");
    fs::rename(cluster.data(1), &aside).expect("the data directory");
    fs::rename(cluster.data(2), cluster.data(1)).expect("the data directory");
    let mut process = cluster.command(1).spawn().expect("flin-node starts");
    assert_eq!(wait_for_exit(&mut process).await.code(), Some(UNUSABLE_DATA));
    assert!(cluster.log(1).contains("volumes were swapped"), "{}", cluster.log(1));
}
