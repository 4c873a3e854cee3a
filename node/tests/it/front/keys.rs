use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::fake::proxy;
use super::wire::{Wire, converse, shown};

#[tokio::test]
async fn strings_answer_as_in_redis() {
    let (_store, port) = proxy().await;
    converse(
        port.address,
        r#"
        GET a => nil
        SET a 1 => OK
        GET a => "1"
        SET a 2 NX => nil
        SET b 2 XX => nil
        SET a 3 GET => "1"
        SET new 1 NX GET => nil
        GETSET a 4 => "3"
        SETNX a 5 => :0
        SETNX c 5 => :1
        SET a 9 IFEQ 8 => nil
        SET a 9 IFEQ 4 => OK
        DELIFEQ a 8 => :0
        DELIFEQ a 9 => :1
        GET a => nil
        GETDEL c => "5"
        GETDEL c => nil
        APPEND s hello => :5
        APPEND s "\x00!" => :7
        STRLEN s => :7
        GETRANGE s -2 -1 => "\x00!"
        SETRANGE s 5 "  you" => :10
        GET s => "hello  you"
        SET "" empty => OK
        GET "" => "empty"
        MSET x 1 y 2 x 3 => OK
        MGET x nothing y x => ["3" nil "2" "3"]
        TYPE x => string
        TYPE nothing => none
        "#,
    )
    .await;
}

#[tokio::test]
async fn counters_answer_as_in_redis() {
    let (_store, port) = proxy().await;
    converse(
        port.address,
        "
        INCR n => :1
        INCRBY n 41 => :42
        DECR n => :41
        DECRBY n 50 => :-9
        SET n 9223372036854775807 => OK
        INCR n => -ERR increment or decrement would overflow
        SET n abc => OK
        INCR n => -ERR value is not an integer or out of range
        INCRBY n 1.5 => -ERR value is not an integer or out of range
        ",
    )
    .await;
}

#[tokio::test]
async fn lives_of_keys_end_when_they_should() {
    let (store, port) = proxy().await;
    converse(
        port.address,
        r#"
        SET a 1 EX 10 => OK
        TTL a => :10
        PTTL a => :10000
        EXPIRETIME a => :1700000010
        PEXPIRETIME a => :1700000010000
        SET a 2 KEEPTTL => OK
        TTL a => :10
        EXPIRE a 5 GT => :0
        EXPIRE a 20 GT => :1
        PEXPIRE a 10000 LT => :1
        PERSIST a => :1
        PERSIST a => :0
        TTL a => :-1
        TTL nothing => :-2
        EXPIRE nothing 5 => :0
        GETEX a EX 3 => "2"
        TTL a => :3
        GETEX a PERSIST => "2"
        TTL a => :-1
        PEXPIREAT a 1700000001000 => :1
        SETEX b 2 x => OK
        PSETEX c 2500 x => OK
        EXPIREAT c 1700000002 => :1
        SET d x => OK
        EXPIRE d -1 => :1
        EXISTS d => :0
        "#,
    )
    .await;
    store.now_ms.fetch_add(1_500, Ordering::SeqCst);
    converse(port.address, "EXISTS a b c => :2").await;
    store.now_ms.fetch_add(1_000, Ordering::SeqCst);
    converse(
        port.address,
        "
        MGET a b c => [nil nil nil]
        DBSIZE => :0
        ",
    )
    .await;
}

#[tokio::test]
async fn commands_over_all_partitions_cover_them() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    let pairs: String = (0..200).map(|i| format!(" key:{i} {i}")).collect();
    assert_eq!(wire.ask(&format!("MSET{pairs}")).await, "OK");
    assert_eq!(wire.ask("DBSIZE").await, ":200");
    assert_eq!(wire.ask("EXISTS key:1 key:2 key:2 other").await, ":3");
    assert_eq!(wire.ask("DEL key:1 key:2 other").await, ":2");
    assert_eq!(wire.ask("UNLINK key:3").await, ":1");
    assert_eq!(wire.ask("TOUCH key:3 key:4").await, ":1");
    assert_eq!(wire.ask("DBSIZE").await, ":197");
    assert_eq!(wire.ask("FLUSHALL ASYNC").await, "OK");
    assert_eq!(wire.ask("DBSIZE").await, ":0");
}

async fn scan(wire: &mut Wire, options: &str) -> (Vec<String>, usize) {
    let (mut found, mut calls, mut cursor) = (Vec::new(), 0, "0".to_owned());
    loop {
        wire.send(format!("SCAN {cursor}{options}\r\n")).await;
        let flin_resp::Value::Array(page) = wire.reply().await.unwrap() else { panic!("no page") };
        let flin_resp::Value::Array(keys) = &page[1] else { panic!("no keys") };
        found.extend(keys.iter().map(shown));
        cursor = shown(&page[0]).trim_matches('"').to_owned();
        calls += 1;
        if cursor == "0" {
            return (found, calls);
        }
    }
}

#[tokio::test]
async fn scan_meets_every_key_once_when_nothing_changes() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    let pairs: String = (0..1000).map(|i| format!(" key:{i} {i}")).collect();
    wire.ask(&format!("MSET{pairs}")).await;
    for options in ["", " COUNT 1", " COUNT 100", " COUNT 1000000", " TYPE string"] {
        let (found, calls) = scan(&mut wire, options).await;
        assert_eq!(found.len(), 1000, "{options}");
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 1000, "{options}");
        assert!(calls > 8 || options == " COUNT 1000000", "{options}: {calls} pages");
    }
    assert_eq!(scan(&mut wire, " MATCH key:77*").await.0.len(), 11);
    assert_eq!(scan(&mut wire, " TYPE list").await, (vec![], 1));
    assert_eq!(wire.ask("SCAN 99999999999999999").await, "[\"0\" []]");
}

#[tokio::test]
async fn scan_of_few_keys_needs_one_call() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.ask("MSET a 1 b 2 c 3").await;
    let (found, calls) = scan(&mut wire, "").await;
    assert_eq!((found.len(), calls), (3, 1));
}
