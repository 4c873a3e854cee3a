//! What is left when nodes never come back.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use flin_proto::admin::recover_response::Meta;
use flin_proto::admin::{ListPartitionsRequest, Partition, RecoverRequest, RecoverResponse};
use flin_state::slot::partition_of_key;
use redis::AsyncCommands;
use tonic::{Code, Status};

use super::cluster::{CLUSTER_ID, Cluster, PATIENCE};
use super::scale::settled;
use super::{assert_keys, count_keys, retried, write_keys};

async fn recover(
    cluster: &Cluster,
    at: usize,
    lost: &[u64],
    accept_data_loss: bool,
) -> Result<RecoverResponse, Status> {
    let mut admin = cluster.wait_for(at, |_| true).await;
    let request = RecoverRequest {
        cluster_id: CLUSTER_ID.into(),
        lost_node_ids: lost.to_vec(),
        accept_data_loss,
    };
    admin.recover(request).await.map(tonic::Response::into_inner)
}

/// Recovers step by step to the end, during which nodes start again.
async fn recover_wholly(cluster: &Cluster, at: usize, lost: &[u64]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match recover(cluster, at, lost, true).await {
            Ok(answer) if answer.done => return,
            last => assert!(Instant::now() < deadline, "{last:?}\n{}", cluster.log(at)),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn refusal(cluster: &Cluster, at: usize, lost: &[u64]) -> String {
    let status = recover(cluster, at, lost, true).await.expect_err("refused");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    status.message().to_owned()
}

fn lose(cluster: &mut Cluster, node: usize) {
    cluster.kill(node);
    fs::remove_dir_all(cluster.data(node)).expect("the data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_three_nodes_goes_on_and_others_join_it() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 1_000).await;
    cluster.ask(0, |answer| answer.under_replicated == 0).await;
    let refused = refusal(&cluster, 0, &[2]).await;
    assert!(refused.contains("node 2 (n1) answers"), "{refused}");
    lose(&mut cluster, 1);
    lose(&mut cluster, 2);

    let refused = refusal(&cluster, 0, &[2]).await;
    assert!(refused.contains("node 3 (n2) is not named as lost"), "{refused}");
    let refused = refusal(&cluster, 0, &[1, 2, 3]).await;
    assert!(refused.contains("node 1 (n0) answers"), "{refused}");
    assert!(refusal(&cluster, 0, &[9]).await.contains("node 9 is no member"));
    assert!(refusal(&cluster, 0, &[]).await.contains("name the nodes"));
    let left = recover(&cluster, 0, &[2, 3], false).await.expect("told");
    assert_eq!((left.kept, left.alone.len(), left.empty.len(), left.done), (0, 8, 0, false));
    assert_eq!(left.meta(), Meta::Alone);
    // To tell is not to do.
    cluster.ask(0, |answer| answer.leaderless == 8).await;

    recover_wholly(&cluster, 0, &[2, 3]).await;
    let mut redis = cluster.redis(0).await;
    assert_keys(&mut redis, "k", 1_000).await;
    write_keys(&mut redis, "late", 100).await;
    cluster.launch(1);
    cluster.launch(2);
    cluster.ask(0, |answer| settled(answer, 3)).await;
    // Saying it once more changes nothing.
    let again = recover(&cluster, 1, &[2, 3], true).await.expect("done before");
    assert_eq!((again.kept, again.done), (8, true), "{again:?}");
    cluster.ready().await;
    // What they have is all of it.
    cluster.kill(0);
    let mut redis = cluster.redis(2).await;
    assert_keys(&mut redis, "k", 1_000).await;
    assert_keys(&mut redis, "late", 100).await;
    assert_eq!(count_keys(&mut redis).await, 1_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_any_replica_begin_empty_and_the_others_keep_their_keys() {
    let mut cluster = Cluster::start(5, 16, &[]).await;
    write_keys(&mut cluster.redis(0).await, "k", 1_000).await;
    cluster.ask(0, |answer| answer.under_replicated == 0).await;
    let mut admin = cluster.wait_for(0, |_| true).await;
    let partitions = admin.list_partitions(ListPartitionsRequest {}).await.expect("listed");
    let partitions: Vec<Partition> = partitions.into_inner().partitions;
    let lost: BTreeSet<u64> = partitions[0].nodes.iter().copied().collect();
    assert_eq!(lost.len(), 3);
    for node in &lost {
        lose(&mut cluster, usize::try_from(*node - 1).expect("a small id"));
    }
    let at = (0..5).find(|node| !lost.contains(&(node + 1))).expect("two are left");
    let at = usize::try_from(at).expect("a small number");
    let lost: Vec<u64> = lost.into_iter().collect();

    let left = recover(&cluster, at, &lost, false).await.expect("told");
    let gone: Vec<u32> = (partitions.iter())
        .filter(|partition| partition.nodes.iter().all(|node| lost.contains(node)))
        .map(|partition| partition.partition)
        .collect();
    assert_eq!(left.empty, gone);
    assert_eq!(left.kept as usize + left.alone.len() + left.empty.len(), 16, "{left:?}");
    recover_wholly(&cluster, at, &lost).await;

    let redis = cluster.redis(at).await;
    let is_gone = |key: &str| gone.contains(&u32::from(partition_of_key(key.as_bytes(), 16).0));
    for i in 0..1_000 {
        let key = format!("k{i}");
        let found: Option<String> = retried(|| {
            let (mut redis, key) = (redis.clone(), key.clone());
            async move { redis.get(key).await }
        })
        .await;
        let expected = (!is_gone(&key)).then(|| format!("value-{i}"));
        assert_eq!(found, expected, "{key}");
    }
    write_keys(&mut cluster.redis(at).await, "k", 1_000).await;
    for node in lost {
        cluster.launch(usize::try_from(node - 1).expect("a small id"));
    }
    cluster.ask(at, |answer| settled(answer, 5)).await;
    assert_keys(&mut cluster.redis(at).await, "k", 1_000).await;
}
