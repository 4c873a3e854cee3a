//! The gRPC port: keys for clients, administration for the operator and people, reflection and health.
//!
//! Keys and administration ask for the client password ([`auth`]). Reflection does too; health does not,
//! since a kubelet cannot prove anything.

pub mod admin;
mod auth;
mod connections;
mod health;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use flin_groups::requests::Requests;
use flin_proto::admin::admin_server::AdminServer;
use flin_proto::keys::keys_server::KeysServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use crate::http::Health;
use crate::settings::Secret;
use admin::{AdminService, Administration};
use auth::Bearer;
use health::StandardHealth;
use keys::KeysService;

/// Calls that one connection may have under way; the next ones wait.
const CALLS_PER_CONNECTION_MAX: u32 = 1_024;
/// The largest reply; a page of a scan and one value of 16 MiB must fit.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// HTTP/2's own windows are so small that bulk transfer crawls.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How often a silent connection is asked whether it is alive, and how long it may take to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls under way may take once the node is told to stop.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What the gRPC port is told.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// What clients must prove; `None`: nothing.
    pub password: Option<Secret>,
    /// The largest request.
    pub request_bytes_max: usize,
    /// How many clients may be connected; the next ones wait to be accepted.
    pub connections_max: usize,
}

/// Serves gRPC on `listener` until `stop`; calls under way may finish then, for a while.
///
/// # Errors
/// Those of the transport and of the reflection service's descriptors.
pub async fn serve<R: Requests, A: Administration>(
    listener: TcpListener,
    requests: R,
    administration: Arc<A>,
    health: Arc<dyn Health>,
    options: GrpcOptions,
    stop: CancellationToken,
) -> Result<(), GrpcError> {
    let GrpcOptions { password, request_bytes_max, connections_max } = options;
    let bearer = Bearer::new(password);
    let keys = KeysServer::new(KeysService::new(requests))
        .max_decoding_message_size(request_bytes_max)
        .max_encoding_message_size(REPLY_BYTES_MAX);
    let admin = AdminServer::new(AdminService::new(administration));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(flin_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let server = Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX as usize)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(InterceptedService::new(keys, bearer.clone()))
        .add_service(InterceptedService::new(admin, bearer.clone()))
        .add_service(InterceptedService::new(reflection().build_v1()?, bearer.clone()))
        .add_service(InterceptedService::new(reflection().build_v1alpha()?, bearer))
        .add_service(HealthServer::new(StandardHealth::new(health)))
        .serve_with_incoming_shutdown(
            connections::accept(listener, connections_max),
            stop.clone().cancelled_owned(),
        );
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        result = server => Ok(result?),
        () = deadline => Ok(()),
    }
}

/// Why gRPC is not served.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The transport failed.
    #[error("serve gRPC")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the services cannot be read, a fault of the build.
    #[error("describe the gRPC services")]
    Reflection(#[from] tonic_reflection::server::Error),
}
