//! The most that one request may ask a node to hold.

use std::fmt;

/// The limits of one request. A request beyond one of them ends its connection with an error that names
/// the limit, because the rest of the stream can no longer be told from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All of a request: its bytes on the wire plus [`Limits::ARGUMENT_OVERHEAD_BYTES`] per argument.
    pub request_bytes_max: usize,
    /// One argument.
    pub bulk_bytes_max: usize,
    /// The arguments of one request, its name included.
    pub arguments_max: usize,
    /// One inline request (a line of text without length prefixes).
    pub inline_bytes_max: usize,
}

impl Limits {
    /// What an argument costs beyond its bytes: without it, a request of empty arguments would make us
    /// hold several times what was sent.
    pub const ARGUMENT_OVERHEAD_BYTES: usize = size_of::<bytes::Bytes>();

    /// What a connection may send before it is authenticated: enough for any `HELLO` or `AUTH`, nothing
    /// that costs memory (as Redis does since CVE-2021-32675).
    pub const UNAUTHENTICATED: Limits = Limits {
        request_bytes_max: 64 << 10,
        bulk_bytes_max: 16 << 10,
        arguments_max: 10,
        inline_bytes_max: 16 << 10,
    };

    /// The smaller of each pair of limits.
    pub fn min(self, other: Limits) -> Limits {
        Limits {
            request_bytes_max: self.request_bytes_max.min(other.request_bytes_max),
            bulk_bytes_max: self.bulk_bytes_max.min(other.bulk_bytes_max),
            arguments_max: self.arguments_max.min(other.arguments_max),
            inline_bytes_max: self.inline_bytes_max.min(other.inline_bytes_max),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes_max: 32 << 20,
            bulk_bytes_max: 16 << 20,
            arguments_max: 128 << 10,
            inline_bytes_max: 64 << 10,
        }
    }
}

/// The name of a limit, as errors and the configuration spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::request_bytes_max`]
    RequestBytes,
    /// [`Limits::bulk_bytes_max`]
    BulkBytes,
    /// [`Limits::arguments_max`]
    Arguments,
    /// [`Limits::inline_bytes_max`]
    InlineBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::RequestBytes => "max_request_bytes",
            Limit::BulkBytes => "max_bulk_bytes",
            Limit::Arguments => "max_arguments",
            Limit::InlineBytes => "max_inline_bytes",
        })
    }
}
