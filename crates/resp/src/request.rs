//! Requests as they arrive: multi-bulk (what clients send) and inline (what a person types into telnet).

use bytes::{Bytes, BytesMut};

use crate::inline;
use crate::limits::{Limit, Limits};

/// A line that announces a length: its type byte, a number and CRLF need no more.
const HEADER_BYTES_MAX: usize = 32;

/// Arguments for which room is made on the peer's word alone.
const ARGUMENTS_TRUSTED: usize = 64;

/// A stream that is not RESP, or asks too much. The connection cannot go on after it.
///
/// Displayed as the words that Redis puts after `ERR Protocol error: `, where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number after `*` is no number.
    #[error("invalid multibulk length")]
    ArgumentCount,
    /// The number after `$` is no number, or negative.
    #[error("invalid bulk length")]
    BulkLength,
    /// An argument that does not begin with `$`.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    ExpectedBulk(u8),
    /// A length, or an argument, without CRLF where it ends.
    #[error("expected CRLF at the end of {0}")]
    ExpectedCrlf(&'static str),
    /// An inline request that opens a quote and does not close it.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A request beyond one of the [`Limits`].
    #[error("request too big: it exceeds {limit} ({max})")]
    TooBig {
        /// The limit it met.
        limit: Limit,
        /// The value of that limit.
        max: usize,
    },
}

/// Decodes the requests of one connection, in whatever pieces they arrive.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use flin_resp::{Limits, RequestDecoder};
///
/// let mut decoder = RequestDecoder::new(Limits::default());
/// let mut input = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$1\r\nk"[..]);
/// assert_eq!(decoder.decode(&mut input), Ok(None));
/// input.extend_from_slice(b"\r\n");
/// let arguments = vec![Bytes::from_static(b"GET"), Bytes::from_static(b"k")];
/// assert_eq!(decoder.decode(&mut input), Ok(Some(arguments)));
/// ```
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    state: State,
    /// What the request being decoded has cost so far, against `request_bytes_max`.
    charged_bytes: usize,
}

#[derive(Debug)]
enum State {
    /// Between requests. The first `searched` bytes of the input hold no line end.
    Start { searched: usize },
    /// Inside a multi-bulk request, at the header of its next argument.
    Header(Arguments),
    /// Inside an argument of `len` bytes.
    Bulk(Arguments, usize),
    /// Met an error; it is answered again and again.
    Failed(ProtocolError),
}

#[derive(Debug)]
struct Arguments {
    expected: usize,
    done: Vec<Bytes>,
}

impl RequestDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        RequestDecoder { limits, state: State::Start { searched: 0 }, charged_bytes: 0 }
    }

    /// Changes the limits, from the next header on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many bytes the argument being received still lacks, given that `buffered` bytes are there:
    /// a hint for the size of the next read. Never more than `bulk_bytes_max` and its line end.
    pub fn lacking_bytes(&self, buffered: usize) -> usize {
        match &self.state {
            State::Bulk(_, len) => (len + 2).saturating_sub(buffered),
            _ => 0,
        }
    }

    /// Takes the next whole request off the front of `input`: its arguments, the command's name first,
    /// never empty. `None` when more input is needed; what was understood so far is remembered.
    ///
    /// # Errors
    /// [`ProtocolError`], and the same one for ever after: the stream's framing is lost.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let step = self.advance(input);
        if let Err(error) = &step {
            self.state = State::Failed(error.clone());
        }
        step
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            match std::mem::replace(&mut self.state, State::Start { searched: 0 }) {
                State::Failed(error) => return Err(error),
                State::Start { searched } => match input.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(header) = Header::take(input, "a multibulk length")? else {
                            return Ok(None);
                        };
                        self.begin(&header)?;
                    }
                    Some(_) => match self.inline(input, searched)? {
                        None => return Ok(None),
                        Some(arguments) if arguments.is_empty() => {}
                        Some(arguments) => return Ok(Some(arguments)),
                    },
                },
                State::Header(arguments) => {
                    if let Some(first) = input.first().filter(|byte| **byte != b'$') {
                        return Err(ProtocolError::ExpectedBulk(*first));
                    }
                    match Header::take(input, "a bulk length")? {
                        None => {
                            self.state = State::Header(arguments);
                            return Ok(None);
                        }
                        Some(header) => {
                            let len = self.bulk_len(&header)?;
                            self.state = State::Bulk(arguments, len);
                        }
                    }
                }
                State::Bulk(arguments, len) if input.len() < len + 2 => {
                    self.state = State::Bulk(arguments, len);
                    return Ok(None);
                }
                State::Bulk(mut arguments, len) => {
                    if &input[len..len + 2] != b"\r\n" {
                        return Err(ProtocolError::ExpectedCrlf("an argument"));
                    }
                    arguments.done.push(input.split_to(len).freeze());
                    bytes::Buf::advance(input, 2);
                    if arguments.done.len() == arguments.expected {
                        return Ok(Some(arguments.done));
                    }
                    self.state = State::Header(arguments);
                }
            }
        }
    }

    /// Begins a multi-bulk request from its first line; one of no arguments is skipped, as Redis does.
    fn begin(&mut self, header: &Header) -> Result<(), ProtocolError> {
        let count = header.number.ok_or(ProtocolError::ArgumentCount)?;
        let Ok(expected) = usize::try_from(count) else { return Ok(()) };
        if expected == 0 {
            return Ok(());
        }
        if expected > self.limits.arguments_max {
            return Err(self.too_big(Limit::Arguments));
        }
        self.charged_bytes = 0;
        self.charge(header.bytes)?;
        let done = Vec::with_capacity(expected.min(ARGUMENTS_TRUSTED));
        self.state = State::Header(Arguments { expected, done });
        Ok(())
    }

    /// The length that a header announces, checked against the limits before a byte of it is awaited.
    fn bulk_len(&mut self, header: &Header) -> Result<usize, ProtocolError> {
        let len = header
            .number
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(ProtocolError::BulkLength)?;
        if len > self.limits.bulk_bytes_max {
            return Err(self.too_big(Limit::BulkBytes));
        }
        self.charge(header.bytes + len + 2 + Limits::ARGUMENT_OVERHEAD_BYTES)?;
        Ok(len)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.charged_bytes = self.charged_bytes.saturating_add(bytes);
        if self.charged_bytes > self.limits.request_bytes_max {
            return Err(self.too_big(Limit::RequestBytes));
        }
        Ok(())
    }

    fn inline(
        &mut self,
        input: &mut BytesMut,
        searched: usize,
    ) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let searched = searched.min(input.len());
        let end = memchr::memchr(b'\n', &input[searched..]).map(|at| searched + at);
        if end.unwrap_or(input.len()) > self.limits.inline_bytes_max {
            return Err(self.too_big(Limit::InlineBytes));
        }
        let Some(end) = end else {
            self.state = State::Start { searched: input.len() };
            return Ok(None);
        };
        let line = input.split_to(end + 1);
        let arguments = inline::split(line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]))
            .ok_or(ProtocolError::UnbalancedQuotes)?;
        if arguments.len() > self.limits.arguments_max {
            return Err(self.too_big(Limit::Arguments));
        }
        Ok(Some(arguments))
    }

    fn too_big(&self, limit: Limit) -> ProtocolError {
        let max = match limit {
            Limit::RequestBytes => self.limits.request_bytes_max,
            Limit::BulkBytes => self.limits.bulk_bytes_max,
            Limit::Arguments => self.limits.arguments_max,
            Limit::InlineBytes => self.limits.inline_bytes_max,
        };
        ProtocolError::TooBig { limit, max }
    }
}

/// A line that announces a length.
struct Header {
    /// What follows its type byte; `None` when that is no number.
    number: Option<i64>,
    /// Its length with CRLF.
    bytes: usize,
}

impl Header {
    /// Takes a header off the input; `what` it announces is for the error.
    fn take(input: &mut BytesMut, what: &'static str) -> Result<Option<Header>, ProtocolError> {
        let window = &input[..input.len().min(HEADER_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            if input.len() >= HEADER_BYTES_MAX {
                return Err(ProtocolError::ExpectedCrlf(what));
            }
            return Ok(None);
        };
        let line = input[..end].strip_suffix(b"\r").ok_or(ProtocolError::ExpectedCrlf(what))?;
        let header = Header { number: number(&line[1..]), bytes: end + 1 };
        bytes::Buf::advance(input, header.bytes);
        Ok(Some(header))
    }
}

/// A decimal integer with an optional minus sign and nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<i64> {
    if digits.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
