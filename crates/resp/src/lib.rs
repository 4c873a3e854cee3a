//! The Redis serialization protocol, RESP2 and RESP3: an incremental decoder of requests, an encoder and
//! a decoder of replies, and the table of the commands that Flin knows. Pure: bytes in, bytes out.
//!
//! Requests are decoded without copying: each argument is a slice of the connection's read buffer.
//! Everything a peer can make us hold has a limit in [`Limits`], and an error names the limit it met.

pub mod commands;
mod inline;
mod limits;
mod reply;
mod request;
mod value;

pub use limits::{Limit, Limits};
pub use reply::{ReplyDecoder, ReplyError};
pub use request::{ProtocolError, RequestDecoder};
pub use value::{Protocol, Value};
