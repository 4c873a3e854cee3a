//! A node's parts against fakes of their neighbours, over real sockets.

#![allow(clippy::unwrap_used)]

mod front;
mod grpc;
mod memory;
mod processes;
