//! A Flin node: the I/O shell around the pure crates.
//!
//! Requests come in through a door (`front` for RESP, `grpc`), go through the router to the node that leads
//! their partition, and there into the groups, which replicate and apply them: both are [`flin_groups`].
//! `transport` carries what nodes say to each other, `cluster` knows who they are.

// A test that unwraps fails with the line it stands on, which is all that a test needs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub(crate) mod administration;
pub mod bootstrap;
pub mod clock;
pub(crate) mod cluster;
pub mod command;
pub mod dev;
pub mod front;
pub mod grpc;
pub mod http;
pub mod metrics;
pub(crate) mod recovery;
pub mod server;
pub mod settings;
pub(crate) mod transport;
