//! A node's parts against fakes of their neighbours, over real sockets.

#![allow(clippy::unwrap_used)]

mod differential;
mod front;
mod grpc;
mod memory;
mod processes;
