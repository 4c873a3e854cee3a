//! Flin and a real Redis are sent the same requests and give the same replies: same types, same words.
//!
//! What differs is listed in [`differences`], with its reason; anything else fails. The seed is printed, and
//! `DIFFERENTIAL_SEED` sends the same requests again.

mod connection;
mod contest;
mod differences;
mod requests;
mod server;

use bytes::Bytes;
use flin_resp::Value;

use crate::processes::cluster::Cluster;
use connection::Connection;
use contest::Contest;
use server::RedisServer;

/// A request: the command's name and its arguments.
type Request = Vec<Bytes>;

fn seed() -> u64 {
    let given = std::env::var("DIFFERENTIAL_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    println!("the seed is {seed}");
    seed
}

/// Sends about so many requests to a node of a cluster, and to Redis.
async fn contest(nodes: usize, node: usize, requests: usize) {
    let (redis, cluster) = tokio::join!(RedisServer::start(), Cluster::start(nodes, 8, &[]));
    let mut contest = Contest::begin(&redis, &cluster.resp_address(node), seed()).await;
    contest.run(requests).await;
    println!("{}", contest.told());
    let found = contest.undeclared();
    assert!(found.is_empty(), "{} undeclared differences:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_answers_as_redis_does() {
    contest(1, 0, 5_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_answer_as_redis_does() {
    contest(3, 1, 1_500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_and_inline_requests_are_answered_as_redis_does() {
    let (redis, cluster) = tokio::join!(RedisServer::start(), Cluster::start(1, 8, &[]));
    let address = cluster.resp_address(0);
    let mut wrong = Vec::new();
    for (stream, reason) in differences::STREAMS {
        let expected = redis.connect().await.answer_to(stream).await;
        let answer = Connection::tcp(&address).await.answer_to(stream).await;
        if (expected == answer) != reason.is_none() {
            let [stream, expected, answer] =
                [*stream, &expected, &answer].map(|bytes| bytes.escape_ascii().to_string());
            wrong.push(format!("{stream}\n  Redis: {expected}\n  Flin:  {answer}\n  {reason:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_declared_difference_has_a_reason() {
    for difference in differences::REQUESTS {
        assert!(difference.reason.ends_with('.'), "{}", difference.what);
    }
}

/// A request on one line, as a person would read it; long words are cut.
fn shown(request: &[Bytes]) -> String {
    const WORD_BYTES_MAX: usize = 40;
    let word = |word: &Bytes| match word.get(..WORD_BYTES_MAX) {
        Some(begin) => format!("\"{}\"...({})", begin.escape_ascii(), word.len()),
        None => format!("\"{}\"", word.escape_ascii()),
    };
    request.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The request without regard to letters: the name of its command.
fn name(request: &[Bytes]) -> String {
    String::from_utf8_lossy(&request[0]).to_ascii_lowercase()
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
}
