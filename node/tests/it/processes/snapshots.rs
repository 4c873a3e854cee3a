//! Replicas on their way to other nodes: at the rate that is asked for, and at nobody's expense.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;

use super::cluster::Cluster;
use super::scale::settled;
use super::{assert_keys, write_keys, write_until};

const VALUE_BYTES: usize = 128 << 10;
const BYTES_PER_SECOND: u64 = 512 << 10;
/// What may pass at once whatever the rate: a frame, which a value may exceed.
const FRAME_BYTES_MAX: u64 = (256 << 10) + VALUE_BYTES as u64;

/// Three nodes with some 4 MiB in four partitions, which send no more than `BYTES_PER_SECOND` each.
async fn three_slow_nodes() -> Cluster {
    let cluster = Cluster::start(3, 4, &[]).await;
    let mut redis = cluster.redis(0).await;
    let value = vec![b'x'; VALUE_BYTES];
    for i in 0..32 {
        redis.set::<_, _, ()>(format!("big-{i}"), &value).await.expect("acknowledged");
    }
    write_keys(&mut redis, "k", 100).await;
    cluster.slow(0, BYTES_PER_SECOND).await;
    for node in 0..3 {
        cluster.wait_for(node, |answer| limit(answer) == BYTES_PER_SECOND).await;
    }
    cluster
}

fn limit(answer: &flin_proto::admin::Cluster) -> u64 {
    let settings = answer.rebalance.as_ref().and_then(|rebalance| rebalance.settings);
    settings.map_or(0, |settings| settings.bytes_per_second)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_sends_more_than_it_may() {
    let mut cluster = three_slow_nodes().await;
    let began = Instant::now();
    cluster.add();
    cluster.ask(0, |answer| settled(answer, 4)).await;
    let mut sent = 0;
    for node in 0..3 {
        let bytes = cluster.metric(node, "flin_snapshot_bytes_sent_total").await as u64;
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).expect("a short time");
        let allowed = BYTES_PER_SECOND * elapsed_ms / 1_000 + FRAME_BYTES_MAX;
        assert!(bytes <= allowed, "node {node} sent {bytes} bytes in {elapsed_ms} ms");
        sent += bytes;
    }
    // Three of the twelve replicas moved, each with about a quarter of the data.
    assert!(sent > 2 << 20, "{sent}");
    assert_keys(&mut cluster.redis(3).await, "k", 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stands_still_holds_up_nobody() {
    let mut cluster = three_slow_nodes().await;
    let node = cluster.add();
    let is_moving = |answer: &flin_proto::admin::Cluster| {
        answer.rebalance.as_ref().is_some_and(|rebalance| rebalance.moving > 0)
    };
    cluster.ask(0, is_moving).await;
    cluster.suspend(node);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(cluster.redis(1).await, stop.clone()));
    // A time that is tried, not one that is waited for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let recorded = writer.await.expect("the writer ended");
    cluster.resume(node);
    cluster.ask(0, |answer| settled(answer, 4)).await;
    recorded.check(&cluster.redis(node).await).await;
    // What it holds is whole, though it stood still half way.
    cluster.kill(0);
    let mut redis = cluster.redis(node).await;
    assert_keys(&mut redis, "k", 100).await;
    let length: usize = super::retried(|| {
        let mut redis = redis.clone();
        async move { redis.strlen("big-7").await }
    })
    .await;
    assert_eq!(length, VALUE_BYTES);
}
