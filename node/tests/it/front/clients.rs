//! The client library that people use, on both ports.

use std::collections::BTreeSet;
use std::time::Duration;

use flin_node::front::Mode;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::fake::{Store, cluster_ports, open, options, password, proxy};

/// How long an answer may take on a machine that is busy with other tests; the library's own limit is short.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(url: String) -> redis::RedisResult<MultiplexedConnection> {
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await
}

#[tokio::test]
async fn a_plain_client_works_in_both_protocols() {
    let (_store, port) = proxy().await;
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://{}/0?protocol={protocol}", port.address);
        let mut client = connect(url).await.unwrap();
        let _: () = client.set("a", "1").await.unwrap();
        let _: () = client.mset(&[("x", "1"), ("y", "2"), ("z", "3")]).await.unwrap();
        let values: Vec<Option<String>> = client.mget(&["x", "none", "z"]).await.unwrap();
        assert_eq!(values, [Some("1".into()), None, Some("3".into())]);
        let sum: i64 = client.incr("a", 41).await.unwrap();
        assert_eq!(sum, 42);
        let ttl: i64 = client.ttl("a").await.unwrap();
        assert_eq!(ttl, -1);
        let gone: Option<String> = client.get("gone").await.unwrap();
        assert_eq!(gone, None);
        let mut found = BTreeSet::new();
        let mut keys = client.scan::<String>().await.unwrap();
        while let Some(key) = keys.next_item().await {
            found.insert(key.unwrap());
        }
        assert_eq!(found, ["a", "x", "y", "z"].map(String::from).into());
        drop(keys);
        let (ok, size): (String, i64) =
            redis::pipe().cmd("FLUSHALL").cmd("DBSIZE").query_async(&mut client).await.unwrap();
        assert_eq!((ok.as_str(), size), ("OK", 0));
    }
}

#[tokio::test]
async fn a_plain_client_authenticates_by_its_url() {
    let store = Store::new();
    for mode in [Mode::Proxy, Mode::Here] {
        let mut locked = options(&store, mode);
        locked.password = password("s3cret");
        let port = open(store.node(1), locked).await;
        let mut client = connect(format!("redis://:s3cret@{}", port.address)).await.unwrap();
        let pong: String = client.ping().await.unwrap();
        assert_eq!(pong, "PONG");
        let wrong = connect(format!("redis://:wrong@{}/", port.address)).await;
        assert!(wrong.is_err());
    }
}

#[tokio::test]
async fn a_cluster_client_routes_itself_and_follows_the_leader() {
    let (store, ports) = cluster_ports().await;
    let url = format!("redis://{}/", ports[0].address);
    let client =
        redis::cluster::ClusterClient::builder([url]).response_timeout(PATIENCE).build().unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for i in 0..100 {
        let _: () = connection.set(format!("key:{i}"), i).await.unwrap();
    }
    // Every leadership moves; the client finds out by MOVED.
    for p in 0..super::fake::PARTITIONS {
        store.lead(flin_state::ids::PartitionId(p), Some(u64::from(p + 1) % 3 + 1));
    }
    for i in 0..100 {
        let value: i64 = connection.incr(format!("key:{i}"), 1).await.unwrap();
        assert_eq!(value, i + 1);
    }
    let values: Vec<i64> =
        connection.mget((0..100).map(|i| format!("key:{i}")).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(values, (1..=100).collect::<Vec<_>>());
    let size: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(size, 100);
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    let size: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(size, 0);
}
