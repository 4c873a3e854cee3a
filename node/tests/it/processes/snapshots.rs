//! Replicas on their way to other nodes: at the rate that is asked for, over connections that break, and at
//! nobody's expense.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flin_proto::admin::RebalanceSettings;
use redis::AsyncCommands;

use super::cluster::Cluster;
use super::proxy::Proxy;
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

/// One node whose only partition has so many values, which are not to be moved yet.
async fn one_full_node(values: usize) -> Cluster {
    let cluster = Cluster::start(1, 1, &[]).await;
    let mut redis = cluster.redis(0).await;
    let value = vec![b'x'; VALUE_BYTES];
    for i in 0..values {
        redis.set::<_, _, ()>(format!("big-{i}"), &value).await.expect("acknowledged");
    }
    write_keys(&mut redis, "k", 100).await;
    cluster.pause(0, true).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_whose_connection_is_cut_goes_on_from_where_it_was() {
    const VALUES: usize = 192;
    let state_bytes = (VALUES * VALUE_BYTES) as f64;
    let mut cluster = one_full_node(VALUES).await;
    let mut ways = Vec::new();
    for _ in 0..2 {
        let node = cluster.reserve();
        // Behind three quarters of the state.
        let way = Proxy::cutting(cluster.peer_address(node), 18 << 20, 1).await;
        cluster.set(node, "advertised-peer-address", way.address());
        cluster.launch(node);
        ways.push(way);
    }
    cluster.wait_for(0, |answer| answer.members.len() == 3).await;
    cluster.replicate(0, 3).await;
    cluster.pause(0, false).await;
    cluster.ask(0, |answer| settled(answer, 3)).await;
    let cuts_left: Vec<_> = ways.iter().map(Proxy::cuts_left).collect();
    assert_eq!(cuts_left, [0, 0], "the connections were cut");
    assert!(cluster.metric(0, "flin_snapshots_resumed_total").await >= 2.0);
    let sent = cluster.metric(0, "flin_snapshot_bytes_sent_total").await;
    // Begun anew, it would be 3.5 times the state: what is sent again is only what was under way.
    assert!(sent < 1.3 * 2.0 * state_bytes, "{sent} bytes for two times {state_bytes}");
    // What the newcomers hold is whole.
    cluster.ready().await;
    for node in [1, 2] {
        assert!(cluster.metric(node, "flin_snapshots_installed_total").await >= 1.0);
        let mut redis = cluster.redis(node).await;
        assert_keys(&mut redis, "k", 100).await;
        let length: usize = redis.strlen(format!("big-{}", VALUES - 1)).await.expect("answered");
        assert_eq!(length, VALUE_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_completes_while_another_stands_still() {
    const PARTITIONS: u16 = 16;
    let mut cluster = Cluster::start(3, PARTITIONS, &[]).await;
    let mut redis = cluster.redis(0).await;
    let value = vec![b'x'; VALUE_BYTES];
    for i in 0..64 {
        redis.set::<_, _, ()>(format!("big-{i}"), &value).await.expect("acknowledged");
    }
    write_keys(&mut redis, "k", 100).await;
    // So many moves that those to the first newcomer are not all that may be under way.
    let moves = u32::from(PARTITIONS);
    let rebalance =
        RebalanceSettings { bytes_per_second: 1 << 20, max_moves: moves, ..Default::default() };
    cluster.set_rebalance(0, rebalance).await;
    let still = cluster.reserve();
    let way = Proxy::to(cluster.peer_address(still)).await;
    cluster.set(still, "advertised-peer-address", way.address());
    cluster.launch(still);
    let is_moving = |answer: &flin_proto::admin::Cluster| {
        answer.rebalance.as_ref().is_some_and(|rebalance| rebalance.moving > 0)
    };
    cluster.ask(0, is_moving).await;
    way.jam(true);
    let node = cluster.add();
    cluster.wait_for_metric(node, "flin_snapshots_installed_total", 1.0).await;
    assert!(!settled(&cluster.ask(0, |_| true).await, 5), "the first one still waits");
    way.jam(false);
    cluster.ask(0, |answer| settled(answer, 5)).await;
    assert_keys(&mut cluster.redis(node).await, "k", 100).await;
    assert_keys(&mut cluster.redis(still).await, "k", 100).await;
}
