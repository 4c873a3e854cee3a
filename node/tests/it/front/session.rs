use flin_node::front::Mode;

use super::fake::{Store, open, options, password, proxy};
use super::wire::{Wire, converse};

#[tokio::test]
async fn nothing_is_done_before_authentication() {
    let store = Store::new();
    let mut locked = options(&store, Mode::Proxy);
    locked.password = password("secret");
    let port = open(store.node(1), locked).await;
    converse(
        port.address,
        "
        GET a => -NOAUTH Authentication required.
        PING => -NOAUTH Authentication required.
        NONSENSE => -NOAUTH Authentication required.
        FLUSHALL => -NOAUTH Authentication required.
        AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH other secret => -WRONGPASS invalid username-password pair or user is disabled.
        PING => -NOAUTH Authentication required.
        AUTH secret => OK
        PING => PONG
        RESET => RESET
        PING => -NOAUTH Authentication required.
        AUTH default secret => OK
        PING => PONG
        ",
    )
    .await;
    assert!(store.calls.lock().unwrap().is_empty());
    assert_eq!(port.stats.wrong_passwords(), 2);
    let mut wire = Wire::connect(port.address).await;
    assert!(wire.ask("HELLO 3").await.starts_with("-NOAUTH HELLO must be called"));
    assert!(wire.ask("HELLO 3 AUTH default wrong").await.starts_with("-WRONGPASS"));
    let greeting = wire.ask("HELLO 3 AUTH default secret SETNAME me").await;
    assert!(greeting.starts_with("{\"server\": \"flin\""), "{greeting}");
    assert!(greeting.contains("\"proto\": :3"), "{greeting}");
    assert_eq!(wire.ask("CLIENT GETNAME").await, "\"me\"");
}

#[tokio::test]
async fn a_stranger_may_not_send_much() {
    let store = Store::new();
    let mut locked = options(&store, Mode::Proxy);
    locked.password = password("secret");
    let port = open(store.node(1), locked).await;
    let mut wire = Wire::connect(port.address).await;
    assert_eq!(
        wire.ask("*2\r\n$4\r\nAUTH\r\n$1000000").await,
        "-ERR Protocol error: request too big: it exceeds max_bulk_bytes (16384)"
    );
    assert_eq!(wire.reply().await, None);
    // What follows a right password in the same packet is no stranger's.
    let mut wire = Wire::connect(port.address).await;
    let value = "x".repeat(100_000);
    wire.send(format!("AUTH secret\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n{value}\r\n")).await;
    assert_eq!(wire.ask("STRLEN a").await, "OK");
    assert_eq!(super::wire::shown(&wire.reply().await.unwrap()), "OK");
    assert_eq!(super::wire::shown(&wire.reply().await.unwrap()), ":100000");
}

#[tokio::test]
async fn a_password_that_nobody_asked_for_is_explained() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    assert!(
        wire.ask("AUTH x").await.starts_with("-ERR AUTH <password> called without any password")
    );
    assert_eq!(wire.ask("AUTH default x").await, "OK");
    assert!(wire.ask("HELLO 4").await.starts_with("-NOPROTO"));
    assert!(wire.ask("HELLO x").await.starts_with("-ERR Protocol version is not an integer"));
    assert!(wire.ask("HELLO 2 FROB").await.starts_with("-ERR Syntax error in HELLO"));
}

#[tokio::test]
async fn resp3_is_spoken_from_hello_on() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("GET a\r\nHELLO 3\r\nGET a\r\nCONFIG GET max_*\r\nHELLO 2\r\nCONFIG GET max_*\r\n")
        .await;
    let mut shown = Vec::new();
    for _ in 0..6 {
        shown.push(super::wire::shown(&wire.reply().await.unwrap()));
    }
    assert_eq!(shown[3], "{\"max_request_bytes\": \"32MiB\"}");
    assert_eq!(shown[5], "[\"max_request_bytes\" \"32MiB\"]");
    assert!(shown[1].starts_with('{') && shown[4].starts_with('['));
}

#[tokio::test]
async fn connections_know_themselves_and_each_other() {
    let (_store, port) = proxy().await;
    let mut one = Wire::connect(port.address).await;
    let mut two = Wire::connect(port.address).await;
    assert_eq!(one.ask("CLIENT ID").await, ":1");
    assert_eq!(two.ask("CLIENT ID").await, ":2");
    assert_eq!(one.ask("CLIENT SETNAME worker-1").await, "OK");
    assert!(one.ask("CLIENT SETNAME \"a b\"").await.starts_with("-ERR Client names cannot"));
    assert_eq!(one.ask("CLIENT SETINFO LIB-NAME redis-py").await, "OK");
    let list = two.ask("CLIENT LIST").await;
    assert!(list.contains("id=1 ") && list.contains("id=2 "), "{list}");
    assert!(list.contains("name=worker-1 ") && list.contains("lib-name=redis-py"), "{list}");
    assert!(!two.ask("CLIENT LIST ID 1").await.contains("id=2 "));
    assert_eq!(two.ask("CLIENT KILL ID 1").await, ":1");
    assert_eq!(one.reply().await, None);
    assert_eq!(two.ask("CLIENT NO-EVICT on").await, "OK");
    assert!(
        two.ask("CLIENT FROB")
            .await
            .starts_with("-ERR unknown subcommand 'FROB'. Try CLIENT HELP.")
    );
    assert!(
        two.ask("CLIENT SETNAME")
            .await
            .starts_with("-ERR wrong number of arguments for 'client|setname'")
    );
}

#[tokio::test]
async fn quit_answers_what_came_before_it_and_closes() {
    let (_store, port) = proxy().await;
    let mut wire = Wire::connect(port.address).await;
    wire.send("SET a 1\r\nQUIT\r\nSET a 2\r\n").await;
    assert_eq!(super::wire::shown(&wire.reply().await.unwrap()), "OK");
    assert_eq!(super::wire::shown(&wire.reply().await.unwrap()), "OK");
    assert_eq!(wire.reply().await, None);
    converse(port.address, "GET a => \"1\"").await;
}

#[tokio::test]
async fn the_node_describes_itself() {
    let (_store, port) = proxy().await;
    converse(
        port.address,
        r#"
        PING hello => "hello"
        ECHO "a b" => "a b"
        SELECT 0 => OK
        SELECT 1 => -ERR DB index is out of range: there is only database 0
        TIME => ["1700000000" "0"]
        CONFIG GET nothing => []
        COMMAND GETKEYS MSET a 1 b 2 => ["a" "b"]
        COMMAND GETKEYS PING => -ERR The command has no key arguments
        COMMAND INFO get nonsense => [["get" :2 [readonly fast] :1 :1 :1 [@string @read @fast] [] [["flags" [RO] "begin_search" ["type" "index" "spec" ["index" :1]] "find_keys" ["type" "range" "spec" ["lastkey" :0 "keystep" :1 "limit" :0]]]] []] nil]
        "#,
    )
    .await;
    let mut wire = Wire::connect(port.address).await;
    let info = wire.ask("INFO").await;
    for part in
        ["# Server", "redis_mode:standalone", "loading:0", "cluster_enabled:0", "partitions:8"]
    {
        assert!(info.contains(part), "{part} is not in {info}");
    }
    assert!(!wire.ask("INFO server").await.contains("# Clients"));
    assert!(wire.ask("INFO commandstats").await.contains("cmdstat_echo:calls=1,failed_calls=0"));
    assert!(
        wire.ask("CONFIG SET a b").await.starts_with("-ERR CONFIG SET is not supported: change")
    );
    let count = format!(":{}", flin_resp::commands::all().len());
    assert_eq!(wire.ask("COMMAND COUNT").await, count);
    assert!(wire.ask("COMMAND DOCS get").await.contains("Answers a value."));
    assert!(wire.ask("COMMAND").await.len() > 1000);
}
