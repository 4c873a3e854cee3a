//! The RESP server.

pub mod requests;
