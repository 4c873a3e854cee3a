//! One client's connection: read, decode, run, answer, in that order, until one side has enough.
//!
//! What a connection can make the node hold is bounded: one request by [`flin_resp::Limits`], one pipeline
//! by the constants below. While a pipeline runs or its replies are being taken, nothing more is read, so
//! that a client that sends faster than it reads is slowed by its own socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use flin_groups::requests::Requests;
use flin_resp::RequestDecoder;
use flin_resp::commands;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Port;
use super::commands::answer_locally;
use super::errors::{self, NOAUTH};
use super::pipeline::Pipeline;
use super::registry::Card;
use super::session::Session;

/// The most requests answered together.
const PIPELINE_REQUESTS_MAX: usize = 1_024;
/// A pipeline takes no more requests once it holds this many bytes of arguments.
const PIPELINE_BYTES_MAX: usize = 4 << 20;
/// How many values a pipeline asks for at first. Their sizes are known only afterwards, so the number grows
/// while replies are small and shrinks when they are large.
const READS_MIN: usize = 8;
/// Replies of more bytes than this halve the number of values asked for together.
const REPLIES_BYTES_GOAL: usize = 1 << 20;
/// Encoded replies are sent once there are this many bytes, and at the end of the pipeline.
const OUTPUT_BYTES: usize = 256 << 10;
/// How long a client that is being disconnected may go on sending.
const PARTING_TIME: Duration = Duration::from_secs(1);
/// The least room made for a read, and the most made on a client's word that an argument is long.
const INPUT_BYTES_MIN: usize = 16 << 10;
const INPUT_BYTES_MAX: usize = 1 << 20;

/// Serves one client until it leaves, breaks the protocol, or `close` is cancelled.
pub(super) async fn run<R: Requests>(
    port: Arc<Port<R>>,
    stream: TcpStream,
    peer: SocketAddr,
    close: CancellationToken,
) {
    let stats = port.options.stats.clone();
    let id = stats.connection_opened();
    let local = stream.local_addr().unwrap_or(port.address);
    let card = Arc::new(Card::new(id, peer, local, close));
    port.registry.insert(card.clone());
    let mut connection = Connection {
        session: Session::new(card, &port.options),
        decoder: RequestDecoder::new(port.options.limits),
        input: BytesMut::new(),
        output: BytesMut::new(),
        reads_max: READS_MIN,
        stream,
        port: &port,
    };
    if let Err(error) = connection.serve().await {
        tracing::debug!(%peer, %error, "connection broke");
    }
    port.registry.remove(id);
    stats.connection_closed();
}

struct Connection<'a, R> {
    port: &'a Port<R>,
    stream: TcpStream,
    session: Session,
    decoder: RequestDecoder,
    input: BytesMut,
    output: BytesMut,
    reads_max: usize,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    /// The replies so far are sent, then the connection is closed.
    Close,
    /// The connection is closed without another word.
    Drop,
}

impl<R: Requests> Connection<'_, R> {
    async fn serve(&mut self) -> io::Result<()> {
        let close = self.session.card.close.clone();
        loop {
            tokio::select! {
                biased;
                () = close.cancelled() => return Ok(()),
                received = receive(&mut self.stream, &mut self.input, &self.decoder) => {
                    let received = received?;
                    if received == 0 {
                        return Ok(());
                    }
                    self.port.options.stats.received(received);
                }
            }
            while !self.input.is_empty() {
                let began = Instant::now();
                let (pipeline, flow) = self.decode();
                let more = !pipeline.is_empty();
                if more && flow != Flow::Drop {
                    self.answer(pipeline).await?;
                    self.port.options.stats.took(began.elapsed());
                }
                if flow == Flow::Drop {
                    return Ok(());
                }
                if flow == Flow::Close || close.is_cancelled() {
                    return self.part().await;
                }
                if !more {
                    break;
                }
            }
            // An idle connection keeps no large buffer.
            if self.input.is_empty() && self.input.capacity() > INPUT_BYTES_MIN {
                self.input = BytesMut::new();
            }
        }
    }

    /// Takes requests off the input until there is no whole one left or a bound is met.
    fn decode(&mut self) -> (Pipeline, Flow) {
        let options = &self.port.options;
        let mut pipeline = Pipeline::new(options.mode, self.port.requests.view());
        let mut bytes = 0;
        while pipeline.len() < PIPELINE_REQUESTS_MAX
            && pipeline.reads() < self.reads_max
            && bytes < PIPELINE_BYTES_MAX
            && !pipeline.is_closed()
        {
            self.decoder.set_limits(self.session.limits(options));
            match self.decoder.decode(&mut self.input) {
                Ok(None) => break,
                Ok(Some(arguments)) => {
                    bytes += arguments.iter().map(Bytes::len).sum::<usize>();
                    let flow = self.take(&mut pipeline, &arguments);
                    if flow != Flow::Go {
                        return (pipeline, flow);
                    }
                }
                Err(error) => {
                    options.stats.protocol_error();
                    tracing::info!(peer = %self.session.card.peer, %error, "a client broke the protocol");
                    pipeline.answer(None, self.session.protocol, errors::protocol(&error));
                    return (pipeline, Flow::Close);
                }
            }
        }
        (pipeline, Flow::Go)
    }

    /// Takes one request into the pipeline, or answers it on the spot.
    fn take(&mut self, pipeline: &mut Pipeline, arguments: &[Bytes]) -> Flow {
        let name = &arguments[0];
        // A browser made to post to this port would be executing commands from the body.
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            tracing::warn!(peer = %self.session.card.peer, "an HTTP request on a RESP port; closed");
            return Flow::Drop;
        }
        let position = commands::position(name);
        self.session.card.requested(position);
        let command = position.map(|at| &commands::all()[at]);
        let flags = command.map_or(&[][..], |command| command.flags);
        let protocol = self.session.protocol;
        let refusal = match command {
            _ if !self.session.admits(flags) => Some(NOAUTH),
            None => {
                self.port.options.stats.called(None, true);
                pipeline.answer(None, protocol, errors::unknown_command(arguments));
                return Flow::Go;
            }
            Some(command) if !command.accepts(arguments.len()) => {
                Some(errors::wrong_arity(command, None))
            }
            Some(command) if !command.has(commands::Flag::Loading) => {
                let serving = &pipeline.view().serving;
                serving.as_ref().err().map(|why| flin_resp::Value::error(format!("LOADING {why}")))
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            pipeline.answer(position, protocol, refusal);
            return Flow::Go;
        }
        let command = command.expect("an unknown command was refused above");
        match answer_locally(self.port, &mut self.session, pipeline.view(), command, arguments) {
            Some(value) => pipeline.answer(position, self.session.protocol, value),
            None => pipeline.ask(position, command, protocol, arguments),
        }
        if command.name == "quit" { Flow::Close } else { Flow::Go }
    }

    /// Runs a pipeline and sends its replies.
    async fn answer(&mut self, pipeline: Pipeline) -> io::Result<()> {
        let stats = &self.port.options.stats;
        let reads = pipeline.reads();
        let answers = pipeline.run(&self.port.requests).await;
        let mut sent = 0;
        for answered in answers {
            if answered.command.is_some() {
                stats.called(answered.command, answered.value.is_error());
            }
            answered.value.encode(answered.protocol, &mut self.output);
            if self.output.len() >= OUTPUT_BYTES {
                sent += self.send().await?;
            }
        }
        sent += self.send().await?;
        if sent > REPLIES_BYTES_GOAL {
            self.reads_max = (reads / 2).max(1);
        } else if reads >= self.reads_max {
            self.reads_max = (self.reads_max * 2).min(PIPELINE_REQUESTS_MAX);
        }
        if self.output.capacity() > OUTPUT_BYTES * 2 {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Closes after the last reply. What still arrives is read and thrown away for a moment, because a
    /// socket closed with unread input resets the connection, and the client would never see the reply.
    async fn part(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let discard = async {
            loop {
                self.input.clear();
                self.input.reserve(INPUT_BYTES_MIN);
                if !matches!(self.stream.read_buf(&mut self.input).await, Ok(1..)) {
                    return;
                }
            }
        };
        let _ = timeout(PARTING_TIME, discard).await;
        Ok(())
    }

    /// Sends what is encoded; gives up on a client that takes nothing for too long.
    async fn send(&mut self) -> io::Result<usize> {
        let sent = self.output.len();
        while self.output.has_remaining() {
            let progress = self.stream.write_buf(&mut self.output);
            match timeout(self.port.options.output_timeout, progress).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written?,
                Err(_elapsed) => {
                    tracing::info!(peer = %self.session.card.peer, "client takes no replies; closed");
                    return Err(io::ErrorKind::TimedOut.into());
                }
            };
        }
        self.port.options.stats.sent(sent);
        Ok(sent)
    }
}

async fn receive(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    decoder: &RequestDecoder,
) -> io::Result<usize> {
    if input.capacity() - input.len() < INPUT_BYTES_MIN / 4 {
        let lacking = decoder.lacking_bytes(input.len());
        input.reserve(lacking.clamp(INPUT_BYTES_MIN, INPUT_BYTES_MAX));
    }
    stream.read_buf(input).await
}
