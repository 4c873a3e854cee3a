//! A client that says exactly what it is told, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use flin_resp::{ReplyDecoder, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Wire {
    pub stream: TcpStream,
    input: BytesMut,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).await.unwrap();
        Wire { stream, input: BytesMut::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next reply; `None` when the other side closed.
    pub async fn reply(&mut self) -> Option<Value> {
        loop {
            let decoder = ReplyDecoder::default();
            if let Some(reply) = decoder.decode(&mut self.input).expect("replies are RESP") {
                return Some(reply);
            }
            let read = self.stream.read_buf(&mut self.input);
            match timeout(PATIENCE, read).await.expect("a reply in time") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends an inline request and returns its reply, written as `redis-cli` would.
    pub async fn ask(&mut self, request: &str) -> String {
        self.send(format!("{request}\r\n")).await;
        shown(&self.reply().await.expect("a reply"))
    }
}

/// A reply on one line.
pub fn shown(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(shown).collect::<Vec<_>>().join(" ");
    match value {
        Value::Simple(text) => text.to_string(),
        Value::Error(text) => format!("-{text}"),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::Verbatim(text) => format!("={}", text.escape_ascii()),
        Value::Null => "nil".into(),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Set(items) => format!("~[{}]", list(items)),
        Value::Push(items) => format!(">[{}]", list(items)),
        Value::Boolean(truth) => format!("#{truth}"),
        Value::Double(number) => format!(",{number}"),
        Value::Map(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| format!("{}: {}", shown(name), shown(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// Holds a conversation: every line is a request, ` => ` and the reply.
pub async fn converse(address: SocketAddr, script: &str) {
    let mut wire = Wire::connect(address).await;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once(" => ").expect("a line has an arrow");
        assert_eq!(wire.ask(request).await, expected, "{request}");
    }
}
