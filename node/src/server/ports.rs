//! The five ports of a node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flin_proto::peer::peer_server::PeerServer;
use flin_resp::Limits;
use flin_state::operation::VALUE_BYTES_MAX;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::error;

use super::{Node, Rim, ServerError};
use crate::administration::Office;
use crate::front::{self, FrontOptions, Mode};
use crate::grpc::{self, GrpcOptions};
use crate::http;
use crate::settings::Settings;
use crate::transport::server::PeerService;
use crate::transport::snapshot::{self, SnapshotReceiver};
use crate::transport::{
    CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX,
    STREAM_WINDOW_BYTES,
};

/// A client that takes nothing of its replies for this long is disconnected.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(30);
/// The arguments of one request.
const ARGUMENTS_MAX: usize = 1 << 20;
/// How long clients may take to be answered when the node ends.
const DOORS_TIME: Duration = Duration::from_secs(5);

/// The servers of a node.
pub(super) struct Ports {
    servers: JoinSet<&'static str>,
}

impl Ports {
    /// Waits for a server to end and names it; none does unless told to.
    pub(super) async fn ended(&mut self) -> Option<&'static str> {
        self.servers.join_next().await.map(|ended| ended.unwrap_or("panicked"))
    }

    /// Waits until the servers that were told to end have done so, for a while.
    pub(super) async fn drain(mut self) {
        let all = async { while self.servers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DOORS_TIME, all).await;
    }
}

/// Opens the port that tells health and what is counted; it answers until the very end.
pub(super) async fn open_health(settings: &Settings, rim: &Rim) -> Result<(), ServerError> {
    let listener = listen("http_address", settings.http_address).await?;
    let routes = http::routes(rim.readiness.clone(), rim.metrics.registry.clone());
    rim.tasks.spawn(run("HTTP", http::serve(listener, routes, rim.stop.clone())));
    Ok(())
}

/// Opens every other port of `node`. Peers are heard until the very end; clients are served until the doors
/// close.
pub(super) async fn open(node: &Node) -> Result<Ports, ServerError> {
    let settings = &node.settings;
    let peer = listen("peer_address", settings.peer_address).await?;
    let rpc = listen("grpc_address", settings.grpc_address).await?;
    let resp = listen("resp_address", settings.resp_address).await?;
    let cluster = listen("cluster_resp_address", settings.cluster_resp_address).await?;

    node.tasks.spawn(serve_peers(node, peer));

    let mut servers = JoinSet::new();
    let doors = &node.doors;
    for (name, mode, listener) in
        [("RESP", Mode::Proxy, resp), ("cluster RESP", Mode::Here, cluster)]
    {
        let options = front_options(node, mode);
        let serving = front::serve(listener, node.router.clone(), options, doors.clone());
        servers.spawn(run(name, serving));
    }
    let office = Arc::new(Office {
        name: settings.node_name.clone(),
        board: node.board.clone(),
        groups: node.groups.clone(),
        router: node.router.clone(),
        clock: node.clock.clone(),
        log: node.data.log.clone(),
        rebalance: node.metrics.rebalance.clone(),
        recovery: node.recovery.clone(),
    });
    let options = GrpcOptions {
        password: settings.secrets.client_password.clone(),
        request_bytes_max: settings.max_request_bytes,
        connections_max: settings.max_connections,
    };
    let health = node.board.clone();
    let serving = grpc::serve(rpc, node.router.clone(), office, health, options, doors.clone());
    servers.spawn(run("gRPC", serving));
    Ok(Ports { servers })
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen {
        setting,
        address,
        source,
    })
}

async fn run<E: std::error::Error>(
    name: &'static str,
    serving: impl Future<Output = Result<(), E>>,
) -> &'static str {
    if let Err(error) = serving.await {
        error!(%error, server = name, "a server failed");
    }
    name
}

fn front_options(node: &Node, mode: Mode) -> FrontOptions {
    FrontOptions {
        mode,
        password: node.settings.secrets.client_password.clone(),
        limits: Limits {
            request_bytes_max: node.settings.max_request_bytes,
            bulk_bytes_max: VALUE_BYTES_MAX,
            arguments_max: ARGUMENTS_MAX,
            ..Limits::default()
        },
        connections_max: node.settings.max_connections,
        output_timeout: OUTPUT_TIMEOUT,
        settings: Arc::new(shown_settings(node)),
        clock: node.clock.clone(),
        stats: node.metrics.front.clone(),
    }
}

/// What CONFIG GET shows: the names that Redis clients ask for, and every setting of this node.
fn shown_settings(node: &Node) -> Vec<(String, String)> {
    let known_to_redis: [(&str, String); 8] = [
        ("appendfsync", "always".into()),
        ("appendonly", "yes".into()),
        ("databases", "1".into()),
        ("maxclients", node.settings.max_connections.to_string()),
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("proto-max-bulk-len", VALUE_BYTES_MAX.to_string()),
        ("save", String::new()),
    ];
    let mut shown: Vec<_> = known_to_redis.map(|(name, value)| (name.to_owned(), value)).into();
    shown.extend(node.settings.listing());
    shown
}

fn serve_peers(node: &Node, listener: TcpListener) -> impl Future<Output = ()> + use<> {
    let service = PeerService {
        credentials: node.peers.credentials.clone(),
        groups: node.groups.clone(),
        board: node.board.clone(),
        router: node.router.clone(),
        snapshots: Arc::new(SnapshotReceiver::new(
            node.data.engine.clone(),
            node.groups.clone(),
            snapshot::Limits::default(),
            node.tasks.clone(),
            node.stop.clone(),
        )),
        clock: node.clock.clone(),
        recovery: node.recovery.clone(),
        stop: node.stop.clone(),
        tasks: node.tasks.clone(),
    };
    let service = PeerServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let stop: CancellationToken = node.stop.clone();
    async move {
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .tcp_nodelay(true)
            .add_service(service);
        let incoming = TcpListenerStream::new(listener);
        run("peer", server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned())).await;
    }
}
