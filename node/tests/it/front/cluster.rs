use flin_state::slot::{partition_of, slot_of};

use super::fake::{PARTITIONS, Store, cluster_ports, open, options};
use super::wire::{Wire, converse};
use flin_node::front::Mode;

#[tokio::test]
async fn keys_led_elsewhere_are_answered_with_moved() {
    let store = Store::new();
    let port = open(store.node(1), options(&store, Mode::Here)).await;
    let slot = slot_of(b"a");
    let partition = partition_of(slot, PARTITIONS);
    let mut wire = Wire::connect(port.address).await;
    store.lead(partition, Some(2));
    let moved = format!("-MOVED {slot} node-2.example:6384");
    assert_eq!(wire.ask("GET a").await, moved);
    assert_eq!(wire.ask("SET a 1").await, moved);
    assert_eq!(wire.ask("DEL {a}1 {a}2").await, moved);
    store.lead(partition, Some(1));
    assert_eq!(wire.ask("SET a 1").await, "OK");
    store.lead(partition, None);
    assert_eq!(wire.ask("GET a").await, "-CLUSTERDOWN Hash slot not served: it has no leader");
}

#[tokio::test]
async fn keys_of_several_slots_are_refused_on_the_cluster_port() {
    let store = Store::new();
    for p in 0..PARTITIONS {
        store.lead(flin_state::ids::PartitionId(p), Some(1));
    }
    let port = open(store.node(1), options(&store, Mode::Here)).await;
    let refused = "-CROSSSLOT Keys in request don't hash to the same slot";
    let mut wire = Wire::connect(port.address).await;
    for request in ["MGET a b", "MSET a 1 b 2", "DEL a b", "EXISTS a b", "UNLINK a b"] {
        assert_eq!(wire.ask(request).await, refused, "{request}");
    }
    assert_eq!(wire.ask("MSET {t}a 1 {t}b 2").await, "OK");
    assert_eq!(wire.ask("MGET {t}b {t}a").await, "[\"2\" \"1\"]");
}

#[tokio::test]
async fn topology_is_told_alike_on_both_ports() {
    let store = Store::new();
    // Neighbours at one node are one range; partition 3 has no leader for now, node 1 is preferred.
    for (p, node) in [(0, Some(1)), (1, Some(1)), (2, Some(2)), (3, None)] {
        store.lead(flin_state::ids::PartitionId(p), node);
    }
    for mode in [Mode::Proxy, Mode::Here] {
        let port = open(store.node(1), options(&store, mode)).await;
        let mut wire = Wire::connect(port.address).await;
        let slots = wire.ask("CLUSTER SLOTS").await;
        let first = "[[:0 :4095 [\"node-1.example\" :6384 \"0000000000000000000000000000000000000001\" []]]";
        assert!(slots.starts_with(first), "{slots}");
        assert!(
            slots.contains("[:6144 :8191 [\"node-1"),
            "slots without a leader are shown too: {slots}"
        );
        assert!(slots.contains(" :16383 ["), "{slots}");
        let nodes = wire.ask("CLUSTER NODES").await;
        let myself = "0000000000000000000000000000000000000001 node-1.example:6384@6383 myself,master - 0 0 ";
        assert!(nodes.contains(myself), "{nodes}");
        assert_eq!(nodes.matches("master").count(), 3, "{nodes}");
        let shards = wire.ask("CLUSTER SHARDS").await;
        assert!(shards.contains("\"endpoint\" \"node-2.example\""), "{shards}");
        let info = wire.ask("CLUSTER INFO").await;
        assert!(
            info.contains("cluster_state:fail") && info.contains("cluster_slots_ok:14336"),
            "{info}"
        );
        assert_eq!(wire.ask("CLUSTER MYID").await, format!("\"{:040x}\"", 1));
        assert!(
            wire.ask("CLUSTER COUNTKEYSINSLOT 1")
                .await
                .starts_with("-ERR keys are not counted by slot")
        );
        assert_eq!(wire.ask("READONLY").await, "OK");
        assert_eq!(wire.ask("READWRITE").await, "OK");
    }
}

#[tokio::test]
async fn nodes_of_the_cluster_port_share_the_keys_between_them() {
    let (store, ports) = cluster_ports().await;
    let filler = open(store.node(1), options(&store, Mode::Proxy)).await;
    let pairs: String = (0..100).map(|i| format!(" key:{i} {i}")).collect();
    Wire::connect(filler.address).await.ask(&format!("MSET{pairs}")).await;
    let (mut counted, mut scanned) = (0, 0);
    for port in &ports {
        let mut wire = Wire::connect(port.address).await;
        counted += wire.ask("DBSIZE").await[1..].parse::<u32>().unwrap();
        let page = wire.ask("SCAN 0 COUNT 1000").await;
        assert!(page.starts_with("[\"0\" "), "one page is enough: {page}");
        scanned += page.matches("key:").count();
    }
    assert_eq!((counted, scanned), (100, 100));
    // Whichever node is told, everything goes.
    converse(ports[1].address, "FLUSHALL => OK").await;
    converse(filler.address, "DBSIZE => :0").await;
}
