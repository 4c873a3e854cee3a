//! The gRPC services of Flin: what clients ([`keys`]), operators ([`admin`]) and nodes ([`peer`]) say.
//! The contracts are the comments of `proto/*.proto`.

/// `flin.v1`: keys, for clients.
pub mod keys {
    tonic::include_proto!("flin.v1");
}

/// `flin.admin.v1`: administration.
pub mod admin {
    tonic::include_proto!("flin.admin.v1");
}

/// `flin.peer.v1`: between nodes.
pub mod peer {
    tonic::include_proto!("flin.peer.v1");
}

/// The descriptors of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
