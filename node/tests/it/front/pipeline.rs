use flin_state::ids::PartitionId;
use flin_state::operation::{Read, Write};
use flin_state::slot::partition_of_key;

use super::fake::{Call, PARTITIONS, proxy};
use super::wire::{Wire, shown};

fn partition(key: &str) -> PartitionId {
    partition_of_key(key.as_bytes(), PARTITIONS)
}

/// Keys of different partitions.
const A: &str = "a";
const B: &str = "b";

#[tokio::test]
async fn replies_keep_the_order_of_requests_when_partitions_do_not() {
    let (store, port) = proxy().await;
    assert_ne!(partition(A), partition(B));
    let gate = store.close_gate(partition(A));
    let mut begun = store.begun.subscribe();
    let mut wire = Wire::connect(port.address).await;
    wire.send("SET a 1\r\nSET b 2\r\nGET b\r\nPING\r\nGET a\r\n").await;
    // The lane of b runs to its end while that of a is held back.
    begun.wait_for(|begun| *begun == 3).await.unwrap();
    gate.add_permits(2);
    for expected in ["OK", "OK", "\"2\"", "PONG", "\"1\""] {
        assert_eq!(shown(&wire.reply().await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_read_sees_the_writes_before_it_and_none_after_it() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("SET a 1\r\nGET a\r\nINCR a\r\nMGET a b\r\nDEL a\r\nGET a\r\n").await;
    for expected in ["OK", "\"1\"", ":2", "[\"2\" nil]", ":1", "nil"] {
        assert_eq!(shown(&wire.reply().await.unwrap()), expected);
    }
}

#[tokio::test]
async fn writes_of_one_partition_that_follow_each_other_are_one_call() {
    let (store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("SET a 1\r\nSET b 1\r\nINCR a\r\nGET a\r\nSTRLEN a\r\nINCR a\r\n").await;
    for _ in 0..6 {
        wire.reply().await.unwrap();
    }
    let calls = store.calls.lock().unwrap().clone();
    let of_a: Vec<Call> = calls
        .into_iter()
        .filter(|call| matches!(call, Call::Writes(p, _) | Call::Reads(p, _) if *p == partition(A)))
        .collect();
    let increment = || Write::Increment { key: A.into(), by: 1 };
    assert_eq!(
        of_a,
        [
            Call::Writes(partition(A), vec![Write::set(A, "1"), increment()]),
            Call::Reads(
                partition(A),
                vec![Read::Get { key: A.into() }, Read::Length { key: A.into() }]
            ),
            Call::Writes(partition(A), vec![increment()]),
        ]
    );
}

#[tokio::test]
async fn a_long_pipeline_is_answered_whole() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    let requests: String = (0..5_000).map(|i| format!("SET k{i} {i}\r\nGET k{i}\r\n")).collect();
    let (mut reading, mut writing) = wire.stream.into_split();
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writing, requests.as_bytes()).await.unwrap();
        writing
    });
    let mut input = bytes::BytesMut::new();
    let decoder = flin_resp::ReplyDecoder::default();
    let mut next = 0;
    while next < 10_000 {
        while let Some(reply) = decoder.decode(&mut input).unwrap() {
            let expected = if next % 2 == 0 { "OK".into() } else { format!("\"{}\"", next / 2) };
            assert_eq!(shown(&reply), expected);
            next += 1;
        }
        if next < 10_000 {
            let read = tokio::io::AsyncReadExt::read_buf(&mut reading, &mut input).await.unwrap();
            assert!(read > 0);
        }
    }
    let writing = sending.await.unwrap();
    wire = Wire::connect(port.address).await;
    assert_eq!(wire.ask("DBSIZE").await, ":5000");
    drop(writing);
}

#[tokio::test]
async fn a_value_of_many_reads_arrives_whole() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    let value = vec![b'x'; 5 << 20];
    wire.send(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", value.len())).await;
    wire.send(&value).await;
    wire.send("\r\n").await;
    assert_eq!(shown(&wire.reply().await.unwrap()), "OK");
    wire.send("STRLEN a\r\nGET a\r\n".repeat(20)).await;
    for _ in 0..20 {
        assert_eq!(shown(&wire.reply().await.unwrap()), format!(":{}", value.len()));
        let flin_resp::Value::Bulk(bytes) = wire.reply().await.unwrap() else { panic!("no value") };
        assert_eq!(bytes.len(), value.len());
    }
}
