//! A connection that says exactly what it is told.

use std::io;
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use flin_resp::{Protocol, ReplyDecoder, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Request, shown};
use crate::processes::cluster::PATIENCE;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
}

impl Connection {
    pub async fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        Ok(Connection { stream: Box::new(stream), input: BytesMut::new() })
    }

    pub async fn tcp(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the node listens");
        stream.set_nodelay(true).expect("a socket option");
        Connection { stream: Box::new(stream), input: BytesMut::new() }
    }

    /// Chooses the protocol.
    pub async fn speak(&mut self, protocol: Protocol) {
        let version = if protocol == Protocol::Resp3 { "3" } else { "2" };
        let greeting = self.ask(&[Bytes::from("HELLO"), Bytes::from(version)]).await;
        assert!(!greeting.is_error(), "{greeting:?}");
    }

    /// Sends requests at once and returns their replies.
    pub async fn ask_all(&mut self, requests: &[Request]) -> Vec<Value> {
        let mut wire = BytesMut::new();
        requests.iter().for_each(|request| encode(request, &mut wire));
        self.stream.write_all(&wire).await.expect("the server reads");
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            replies.push(self.reply(request).await);
        }
        replies
    }

    pub async fn ask(&mut self, request: &[Bytes]) -> Value {
        self.ask_all(&[request.to_vec()]).await.remove(0)
    }

    async fn reply(&mut self, request: &[Bytes]) -> Value {
        loop {
            if let Some(reply) =
                ReplyDecoder::default().decode(&mut self.input).expect("replies are RESP")
            {
                return reply;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            let read = read.expect("a reply in time").expect("the connection lasts");
            assert!(read > 0, "the connection was closed upon {}", shown(request));
        }
    }

    /// Sends bytes, says that nothing follows, and returns all that comes back.
    pub async fn answer_to(mut self, stream: &[u8]) -> Vec<u8> {
        self.stream.write_all(stream).await.expect("the server reads");
        // Whoever was told that the stream is broken may have closed it already.
        let _ = self.stream.shutdown().await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut answer)).await;
        let _ = read.expect("an end in time");
        answer
    }
}

fn encode(request: &[Bytes], wire: &mut BytesMut) {
    wire.put_slice(format!("*{}\r\n", request.len()).as_bytes());
    for argument in request {
        wire.put_slice(format!("${}\r\n", argument.len()).as_bytes());
        wire.put_slice(argument);
        wire.put_slice(b"\r\n");
    }
}
