//! One TCP connection to a RESP server, one request at a time.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::resp::{self, Value};

/// How long making a connection may take, name lookup and password included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// A connection with at most one request in flight. After a [`Fault`] it must be dropped: an answer to an
/// earlier request could still arrive.
pub(crate) struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    outgoing: Vec<u8>,
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing was sent.
    Unsent(String),
    /// The request was sent, wholly or in part: it may have been done.
    Unanswered(String),
}

impl Connection {
    /// Connects to `address` (`host:port`) and names the password, if there is one.
    ///
    /// # Errors
    /// [`Fault::Unsent`], whatever went wrong.
    pub(crate) async fn open(address: &str, password: Option<&str>) -> Result<Self, Fault> {
        let unsent = |why: String| Fault::Unsent(format!("{address}: {why}"));
        let opened = timeout(CONNECT_TIMEOUT, Self::try_open(address, password)).await;
        opened.unwrap_or_else(|_| Err("no connection in time".to_owned())).map_err(unsent)
    }

    async fn try_open(address: &str, password: Option<&str>) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (incoming, outgoing) = (BytesMut::with_capacity(READ_BYTES), Vec::new());
        let mut connection = Self { stream, incoming, outgoing };
        if let Some(password) = password {
            match connection.exchange(&[b"AUTH", password.as_bytes()]).await? {
                reply if reply.is_ok() => {}
                Value::Error(why) => return Err(why),
                other => return Err(format!("AUTH was answered {other:?}")),
            }
        }
        Ok(connection)
    }

    /// Sends a request and waits at most `patience` for its answer.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] when the connection ended, spoke nonsense or kept silent.
    pub(crate) async fn call(
        &mut self,
        parts: &[&[u8]],
        patience: Duration,
    ) -> Result<Value, Fault> {
        match timeout(patience, self.exchange(parts)).await {
            Ok(answer) => answer.map_err(Fault::Unanswered),
            Err(_) => Err(Fault::Unanswered(format!("no answer in {} ms", patience.as_millis()))),
        }
    }

    /// Sends bytes as they are and waits for one reply: for what no proper client would send.
    ///
    /// # Errors
    /// [`Fault::Unanswered`] as in [`Connection::call`].
    pub(crate) async fn send_raw(
        &mut self,
        bytes: &[u8],
        patience: Duration,
    ) -> Result<Value, Fault> {
        let exchange = async {
            self.stream.write_all(bytes).await.map_err(|e| e.to_string())?;
            self.reply().await
        };
        match timeout(patience, exchange).await {
            Ok(answer) => answer.map_err(Fault::Unanswered),
            Err(_) => Err(Fault::Unanswered(format!("no answer in {} ms", patience.as_millis()))),
        }
    }

    async fn exchange(&mut self, parts: &[&[u8]]) -> Result<Value, String> {
        self.outgoing.clear();
        resp::encode(parts, &mut self.outgoing);
        self.stream.write_all(&self.outgoing).await.map_err(|e| e.to_string())?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Value, String> {
        loop {
            if let Some(value) = resp::take(&mut self.incoming)? {
                return Ok(value);
            }
            self.incoming.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.incoming).await;
            if read.map_err(|e| e.to_string())? == 0 {
                return Err("the server closed the connection".to_owned());
            }
        }
    }
}
