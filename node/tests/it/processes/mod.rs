//! What real processes promise each other and their clients.

pub mod cluster;
mod proxy;
mod recovery;
mod rejoin;
mod scale;
mod snapshots;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use cluster::{Cluster, PATIENCE, wait_for_exit};

/// The exit code of a node whose data cannot be used.
const UNUSABLE_DATA: i32 = 78;

async fn write_keys(redis: &mut MultiplexedConnection, prefix: &str, count: usize) {
    for batch in (0..count).collect::<Vec<_>>().chunks(100) {
        let mut pipe = redis::pipe();
        for i in batch {
            pipe.set(format!("{prefix}{i}"), format!("value-{i}")).ignore();
        }
        pipe.query_async::<()>(redis).await.expect("writes are acknowledged");
    }
}

async fn assert_keys(redis: &mut MultiplexedConnection, prefix: &str, count: usize) {
    for i in 0..count {
        let found: Option<String> = retried(|| {
            let mut redis = redis.clone();
            let key = format!("{prefix}{i}");
            async move { redis.get(key).await }
        })
        .await;
        assert_eq!(found, Some(format!("value-{i}")), "{prefix}{i}");
    }
}

async fn count_keys(redis: &mut MultiplexedConnection) -> usize {
    redis::cmd("DBSIZE").query_async(redis).await.expect("the keys are counted")
}

/// Repeats a read until the cluster can answer it.
async fn retried<T, F: Future<Output = redis::RedisResult<T>>>(ask: impl Fn() -> F) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes one key after the other until told to stop; returns how often each was acknowledged last.
async fn write_until(mut redis: MultiplexedConnection, stop: Arc<AtomicBool>) -> Recorded {
    let mut recorded = Recorded::default();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let key = format!("live-{}", number % 200);
        match redis.set::<_, _, ()>(&key, number).await {
            Ok(()) => {
                recorded.acknowledged.insert(key.clone(), number);
                recorded.maybe.remove(&key);
            }
            Err(_) => {
                recorded.maybe.entry(key).or_default().push(number);
                // A connection that is gone fails at once, and a loop that never rests cannot be cancelled.
                tokio::task::yield_now().await;
            }
        }
    }
    recorded
}

#[derive(Default)]
struct Recorded {
    acknowledged: BTreeMap<String, u64>,
    /// Writes after the last acknowledged one whose outcome is unknown.
    maybe: BTreeMap<String, Vec<u64>>,
}

impl Recorded {
    async fn check(&self, redis: &MultiplexedConnection) {
        assert!(self.acknowledged.len() > 100, "the writer wrote");
        for (key, acknowledged) in &self.acknowledged {
            let found: Option<u64> = retried(|| {
                let (mut redis, key) = (redis.clone(), key.clone());
                async move { redis.get(key).await }
            })
            .await;
            let maybe = self.maybe.get(key).map_or(&[][..], Vec::as_slice);
            let possible = found == Some(*acknowledged) || maybe.iter().any(|m| found == Some(*m));
            assert!(possible, "{key}: {found:?} is neither {acknowledged} nor one of {maybe:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_the_kill_of_every_node_at_once() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    let mut redis = cluster.redis(1).await;
    write_keys(&mut redis, "k", 2_000).await;
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.launch(node);
    }
    cluster.ready().await;
    assert_keys(&mut cluster.redis(2).await, "k", 2_000).await;
    assert_eq!(count_keys(&mut cluster.redis(0).await).await, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_after_the_kill_of_one_node_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(cluster.redis(1).await, stop.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.kill(0);
    // Every partition takes writes again, also those that node 0 led.
    let mut redis = cluster.redis(2).await;
    for i in 0..100 {
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Err(error) = redis.set::<_, _, ()>(format!("after-{i}"), i).await {
            assert!(std::time::Instant::now() < deadline, "{error}");
        }
    }
    cluster.launch(0);
    cluster.ready().await;
    stop.store(true, Ordering::Relaxed);
    let recorded = writer.await.expect("the writer ended");
    recorded.check(&cluster.redis(0).await).await;
    cluster.wait_for(0, |answer| answer.under_replicated == 0 && answer.leaderless == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_told_to_stop_hands_over_and_no_client_elsewhere_notices() {
    let mut cluster = Cluster::start(3, 8, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(cluster.redis(1).await, stop.clone()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = cluster.terminate(0).await;
    assert_eq!(status.code(), Some(0), "{}", cluster.log(0));
    assert!(cluster.log(0).contains("every leadership is handed over"), "{}", cluster.log(0));
    stop.store(true, Ordering::Relaxed);
    let recorded = writer.await.expect("the writer ended");
    assert!(recorded.maybe.is_empty(), "a client saw errors: {:?}", recorded.maybe);
    recorded.check(&cluster.redis(2).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_restarted_one_after_the_other_hand_over_each_time() {
    let mut cluster = Cluster::start(3, 64, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    write_keys(&mut cluster.redis(0).await, "k", 500).await;
    for node in [0, 1, 2, 0] {
        // The client stays away from the node that goes: its own connection would end.
        let writer = tokio::spawn(write_until(cluster.redis((node + 1) % 3).await, stop.clone()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = cluster.log(node).len();
        let status = cluster.terminate(node).await;
        let said = cluster.log(node).split_off(before);
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("every leadership is handed over"), "{said}");
        cluster.launch(node);
        cluster.ready().await;
        stop.store(true, Ordering::Relaxed);
        let recorded = writer.await.expect("the writer ended");
        assert!(recorded.maybe.is_empty(), "a client saw errors: {:?}", recorded.maybe);
        stop.store(false, Ordering::Relaxed);
    }
    assert_keys(&mut cluster.redis(1).await, "k", 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_the_log_no_longer_reaches_gets_a_snapshot() {
    let small = [("log-segment-bytes", "1MiB"), ("log-budget-bytes", "4MiB")];
    let mut cluster = Cluster::start(3, 2, &small).await;
    let mut redis = cluster.redis(0).await;
    write_keys(&mut redis, "before", 100).await;
    cluster.kill(2);
    let value = vec![b'x'; 64 << 10];
    for i in 0..300 {
        redis.set::<_, _, ()>(format!("big-{i}"), &value).await.expect("a majority is there");
    }
    write_keys(&mut redis, "late", 100).await;
    // The log is looked at once in a second: 300 values may well be written before that.
    for node in [0, 1] {
        cluster.wait_for_log(node, "compacted the log").await;
    }
    cluster.launch(2);
    cluster.ready().await;
    assert!(cluster.metric(2, "flin_snapshots_installed_total").await > 0.0);
    let sent = "flin_snapshots_sent_total";
    assert!(cluster.metric(0, sent).await + cluster.metric(1, sent).await > 0.0);
    // What the snapshot brought is all there: it survives the loss of another node.
    cluster.kill(0);
    let mut redis = cluster.redis(2).await;
    assert_keys(&mut redis, "before", 100).await;
    assert_keys(&mut redis, "late", 100).await;
    let length: usize = redis.strlen("big-299").await.expect("a majority is there");
    assert_eq!(length, value.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_removed_is_noticed() {
    let mut cluster = Cluster::start(1, 2, &[]).await;
    cluster.kill(0);
    fs::remove_dir_all(cluster.data(0).join("log")).expect("the log's directory");
    let mut process = cluster.command(0).spawn().expect("flin-node starts");
    assert_eq!(wait_for_exit(&mut process).await.code(), Some(UNUSABLE_DATA));
    assert!(cluster.log(0).contains("the log was removed"), "{}", cluster.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_data_directory_is_refused() {
    let cluster = Cluster::start(1, 2, &[]).await;
    let mut process = cluster.command(0).spawn().expect("flin-node starts");
    assert_eq!(wait_for_exit(&mut process).await.code(), Some(UNUSABLE_DATA));
    assert!(cluster.log(0).contains("in use"), "{}", cluster.log(0));
    write_keys(&mut cluster.redis(0).await, "k", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expire_alike_on_every_node() {
    let cluster = Cluster::start(3, 4, &[]).await;
    let mut redis = cluster.redis(0).await;
    for i in 0..50 {
        redis.pset_ex::<_, _, ()>(format!("brief-{i}"), i, 300).await.expect("acknowledged");
        redis.set::<_, _, ()>(format!("lasting-{i}"), i).await.expect("acknowledged");
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    for node in 0..3 {
        let mut redis = cluster.redis(node).await;
        while count_keys(&mut redis).await != 50 {
            assert!(std::time::Instant::now() < deadline, "expired keys are still counted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let gone: Option<String> = redis.get("brief-7").await.expect("answered");
        assert_eq!(gone, None);
        let there: Option<u32> = redis.get("lasting-7").await.expect("answered");
        assert_eq!(there, Some(7));
    }
}
