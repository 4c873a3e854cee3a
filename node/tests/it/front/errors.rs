use std::time::Duration;

use flin_groups::requests::RequestError;
use flin_node::front::Mode;
use tokio::net::TcpStream;

use super::fake::{Store, open, options, proxy};
use super::wire::{Wire, converse, shown};

#[tokio::test]
async fn mistakes_are_answered_in_the_words_of_redis() {
    let (_store, port) = proxy().await;
    converse(
        port.address,
        "
        GET => -ERR wrong number of arguments for 'get' command
        GET a b => -ERR wrong number of arguments for 'get' command
        MSET a => -ERR wrong number of arguments for 'mset' command
        SET a b FROB => -ERR syntax error
        SET a b EX 0 => -ERR invalid expire time in 'set' command
        ASKING => -ERR ASKING is not needed: this server never answers ASK
        PING => PONG
        ",
    )
    .await;
    let mut wire = Wire::connect(port.address).await;
    assert_eq!(
        wire.ask("NONSENSE a b").await,
        "-ERR unknown command 'NONSENSE', with args beginning with: 'a' 'b' "
    );
    assert_eq!(port.stats.unknown_commands(), 1);
    let get = port.stats.commands().find(|counts| counts.name == "get").unwrap();
    assert_eq!((get.calls, get.errors), (2, 2));
}

#[tokio::test]
async fn errors_tell_what_happened_to_a_write() {
    let (store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    for (error, write, read) in [
        (RequestError::TryLater("too busy".into()), "-TRYAGAIN too busy", "-TRYAGAIN too busy"),
        (
            RequestError::Unknown("the connection broke".into()),
            "-UNKNOWNOUTCOME the write may or may not have been applied: the connection broke",
            "-TRYAGAIN the connection broke",
        ),
        (
            RequestError::NotHere { leader: None },
            "-CLUSTERDOWN Hash slot not served: it has no leader",
            "-CLUSTERDOWN Hash slot not served: it has no leader",
        ),
        (RequestError::Refused("too large".into()), "-ERR too large", "-ERR too large"),
    ] {
        store.fail_next(error.clone());
        assert_eq!(wire.ask("SET a 1").await, write);
        store.fail_next(error);
        assert_eq!(wire.ask("GET a").await, read);
    }
    assert_eq!(wire.ask("SET a 1").await, "OK");
}

#[tokio::test]
async fn a_command_of_several_partitions_fails_if_one_of_them_does() {
    let (store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    for request in ["MSET a 1 b 2 c 3", "MGET a b c", "DEL a b c", "FLUSHALL", "DBSIZE", "SCAN 0"] {
        store.fail_next(RequestError::TryLater("busy".into()));
        assert_eq!(wire.ask(request).await, "-TRYAGAIN busy", "{request}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_formed_says_so() {
    let (store, port) = proxy().await;
    *store.serving.lock().unwrap() = Err("the cluster is still forming".into());
    converse(
        port.address,
        "
        GET a => -LOADING the cluster is still forming
        SET a 1 => -LOADING the cluster is still forming
        PING => PONG
        CLUSTER KEYSLOT foo => :12182
        ",
    )
    .await;
    *store.serving.lock().unwrap() = Ok(());
    converse(port.address, "SET a 1 => OK").await;
}

#[tokio::test]
async fn a_broken_stream_is_answered_once_and_closed() {
    let (store, port) = proxy().await;
    for (input, words) in [
        ("*1\r\nGET\r\n", "-ERR Protocol error: expected '$', got 'G'"),
        ("*-2x\r\n", "-ERR Protocol error: invalid multibulk length"),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$999999999\r\n",
            "-ERR Protocol error: request too big: it exceeds max_bulk_bytes (16777216)",
        ),
        ("*9999999\r\n", "-ERR Protocol error: request too big: it exceeds max_arguments (131072)"),
    ] {
        let mut wire = Wire::connect(port.address).await;
        wire.send(format!("SET a 1\r\n{input}SET a 2\r\n")).await;
        assert_eq!(shown(&wire.reply().await.unwrap()), "OK");
        assert_eq!(shown(&wire.reply().await.unwrap()), words);
        assert_eq!(wire.reply().await, None);
    }
    assert_eq!(port.stats.protocol_errors(), 4);
    assert_eq!(store.calls.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_why_it_is_disconnected() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$20000000\r\n").await;
    wire.send(vec![b'x'; 1 << 20]).await;
    assert!(shown(&wire.reply().await.unwrap()).contains("max_bulk_bytes"));
}

#[tokio::test]
async fn a_browser_is_not_talked_to() {
    let (store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n").await;
    assert_eq!(wire.reply().await, None);
    assert!(store.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn keys_and_values_beyond_their_limits_are_refused_without_a_proposal() {
    let (store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    let key = "k".repeat(70_000);
    for request in ["GET k", "SET k v", "DEL a k", "MGET a k", "MSET a 1 k 2", "EXPIRE k 1"] {
        let words: Vec<&str> =
            request.split(' ').map(|w| if w == "k" { &key } else { w }).collect();
        let mut wire_request = format!("*{}\r\n", words.len());
        for word in words {
            wire_request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        wire.send(wire_request).await;
        let reply = shown(&wire.reply().await.unwrap());
        assert_eq!(reply, "-ERR key exceeds maximum allowed size (65536 bytes)", "{request}");
    }
    assert!(store.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let store = Store::new();
    let mut small = options(&store, Mode::Proxy);
    small.connections_max = 1;
    let port = open(store.node(1), small).await;
    let mut first = Wire::connect(port.address).await;
    assert_eq!(first.ask("PING").await, "PONG");
    let mut second = Wire::connect(port.address).await;
    assert_eq!(
        shown(&second.reply().await.unwrap()),
        "-ERR max number of clients reached (max_connections is 1)"
    );
    assert_eq!(second.reply().await, None);
    assert_eq!(port.stats.connections_refused(), 1);
    drop(first);
    // The place is free once the node has seen that the first is gone.
    loop {
        let mut third = Wire::connect(port.address).await;
        third.send("PING\r\n").await;
        match third.reply().await {
            Some(reply) if shown(&reply) == "PONG" => break,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_replies_is_disconnected() {
    let store = Store::new();
    let mut impatient = options(&store, Mode::Proxy);
    impatient.output_timeout = Duration::from_millis(50);
    let port = open(store.node(1), impatient).await;
    let mut wire = Wire::connect(port.address).await;
    assert_eq!(wire.ask(&format!("SET a {}", "x".repeat(60_000))).await, "OK");
    let mut stream: TcpStream = wire.stream;
    let flood = "GET a\r\n".repeat(1_000);
    // Sends and never reads, until the other side has had enough.
    let gone = async {
        while tokio::io::AsyncWriteExt::write_all(&mut stream, flood.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is disconnected");
}

#[tokio::test]
async fn shutdown_answers_what_was_begun() {
    let (store, mut port) = proxy().await;
    let gate = store.close_gate(flin_state::slot::partition_of_key(b"a", super::fake::PARTITIONS));
    let mut idle = Wire::connect(port.address).await;
    assert_eq!(idle.ask("PING").await, "PONG");
    let mut wire = Wire::connect(port.address).await;
    let mut begun = store.begun.subscribe();
    wire.send("SET a 1\r\n").await;
    begun.wait_for(|begun| *begun == 1).await.unwrap();
    port.shutdown.cancel();
    assert_eq!(idle.reply().await, None);
    assert!(!port.serving.is_finished());
    gate.add_permits(1);
    assert_eq!(shown(&wire.reply().await.unwrap()), "OK");
    assert_eq!(wire.reply().await, None);
    drop(wire);
    (&mut port.serving).await.unwrap().unwrap();
    assert_eq!(port.stats.connections(), 0);
}
