//! A whole node: data, threads, ports, and an orderly end.

mod data;
mod outbox;
mod ports;
mod shutdown;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use flin_state::cluster::ClusterState;
use flin_state::engine::EngineError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

pub use data::DataError;

use crate::bootstrap::{Bootstrap, BootstrapError};
use crate::clock::{Clock, SystemClock};
use crate::cluster;
use crate::groups::applier::{Applier, Hosted, Marks, WORK_MAX, Work};
use crate::groups::board::Board;
use crate::groups::hosting;
use crate::groups::mailbox::{INPUTS_MAX, Input};
use crate::groups::worker::{Fatal, Ground, Timing, Worker};
use crate::groups::{Groups, upkeep};
use crate::metrics::Metrics;
use crate::router::Router;
use crate::settings::Settings;
use crate::transport::handshake::Credentials;
use crate::transport::peers::Peers;
use crate::transport::snapshot::SnapshotSender;
use data::Data;
use outbox::PeerOutbox;
use ports::Ports;

/// Why a node ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The bootstrap file cannot be used.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A port cannot be served.
    #[error("listen on {address} ({setting})")]
    Listen {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The replicas failed.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
    /// A server failed.
    #[error("the {0} server ended")]
    Port(&'static str),
    /// The system refused a thread or a signal handler.
    #[error("start")]
    Start(#[source] std::io::Error),
}

/// Runs a node until it is told to stop (`SIGTERM` or `SIGINT`), hands over what it leads, and ends.
///
/// # Errors
/// [`ServerError`]: what ended it before its time. Everything acknowledged is on stable storage all the
/// same.
pub async fn run(settings: Settings) -> Result<(), ServerError> {
    let bootstrap = Bootstrap::read(&settings.bootstrap_file, &settings.node_name)?;
    let opening = {
        let (settings, bootstrap) = (settings.clone(), bootstrap.clone());
        tokio::task::spawn_blocking(move || data::open(&settings, &bootstrap))
    };
    let data = opening.await.map_err(|error| ServerError::Start(error.into()))??;
    let mut node = Node::start(settings, bootstrap, data)?;
    let mut ports = ports::open(&node).await?;
    let ended = node.serve(&mut ports).await;
    node.stop(ports, ended.is_ok()).await;
    ended
}

/// A running node.
struct Node {
    settings: Settings,
    bootstrap: Bootstrap,
    board: Arc<Board>,
    groups: Groups,
    peers: Arc<Peers>,
    router: Router,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    data: Data,
    work: SyncSender<Work>,
    threads: Vec<JoinHandle<()>>,
    fatal: mpsc::Receiver<Fatal>,
    tasks: TaskTracker,
    /// Ends the doors for clients.
    doors: CancellationToken,
    /// Ends everything else on the reactor.
    stop: CancellationToken,
}

impl Node {
    fn start(settings: Settings, bootstrap: Bootstrap, data: Data) -> Result<Self, ServerError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let metrics = Metrics::new();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let timing = Timing {
            tick: Duration::from_millis(settings.tick_ms),
            election_ticks: settings.election_ticks,
            heartbeat_ticks: settings.heartbeat_ticks,
        };
        let seed = rand::random();
        let found =
            hosting::restore(&*data.engine, &data.log, timing, seed).map_err(Fatal::Host)?;
        let board = Board::new(bootstrap.node_id);
        let (inputs, mailbox) = sync_channel(INPUTS_MAX);
        let (work, to_apply) = sync_channel(WORK_MAX);
        let groups = Groups::new(inputs);
        let credentials = Arc::new(Credentials {
            cluster: bootstrap.genesis.cluster_id,
            node: bootstrap.node_id,
            secret: settings.secrets.peer_secret.clone(),
        });
        let peers =
            Peers::new(credentials, board.clone(), groups.clone(), tasks.clone(), stop.clone());
        let marks = Arc::new(Marks::default());
        let ground = Ground {
            node: bootstrap.node_id,
            log: data.log.clone(),
            engine: data.engine.clone(),
            clock: clock.clone(),
            outbox: Box::new(PeerOutbox {
                peers: peers.clone(),
                snapshots: SnapshotSender::new(data.engine.clone(), peers.clone(), groups.clone()),
                tasks: tasks.clone(),
                runtime: tokio::runtime::Handle::current(),
                stop: stop.clone(),
            }),
            board: board.clone(),
            marks: marks.clone(),
            work: work.clone(),
            metrics: metrics.core.clone(),
            timing,
            seed,
        };
        let cluster = ClusterState::load(&*data.engine)?;
        let applier = Applier {
            engine: data.engine.clone(),
            clock: clock.clone(),
            board: board.clone(),
            marks,
            worker: groups.clone(),
            metrics: metrics.core.clone(),
            groups: found.states.into_iter().map(|(g, state)| (g, Hosted::new(state))).collect(),
            cluster: cluster.clone(),
        };
        let worker = Worker::new(ground, found.groups);
        let (threads, fatal) = spawn(worker, mailbox, applier, to_apply)?;
        if let Some(state) = cluster.or_else(|| cluster::load_cached(&data.cluster_cache)) {
            board.set_cluster(Arc::new(state));
        }
        let members = bootstrap.genesis.members.iter();
        peers.meet(members.map(|member| (member.node_id, member.peer_address.clone())));
        let router = Router::new(groups.clone(), board.clone(), peers.clone());
        let doors = CancellationToken::new();
        Ok(Node {
            settings,
            bootstrap,
            board,
            groups,
            peers,
            router,
            clock,
            metrics,
            data,
            work,
            threads,
            fatal,
            tasks,
            doors,
            stop,
        })
    }

    /// Serves until told to stop, or until something fails.
    async fn serve(&mut self, ports: &mut Ports) -> Result<(), ServerError> {
        self.tasks.spawn(cluster::spread(
            self.board.clone(),
            self.groups.clone(),
            self.peers.clone(),
            self.data.cluster_cache.clone(),
            self.stop.clone(),
        ));
        self.tasks.spawn(cluster::follow(
            self.bootstrap.genesis.clone(),
            self.board.clone(),
            self.peers.clone(),
            self.stop.clone(),
        ));
        self.tasks.spawn(cluster::form(
            self.bootstrap.genesis.clone(),
            self.groups.clone(),
            self.board.clone(),
            self.stop.clone(),
        ));
        let upkeep = upkeep(
            self.data.engine.clone(),
            self.data.log.clone(),
            self.settings.log_budget_bytes,
            self.groups.clone(),
            self.stop.clone(),
        );
        info!(
            node = %self.bootstrap.node_id,
            cluster = %self.bootstrap.genesis.cluster_id,
            resp = %self.settings.resp_address,
            version = env!("CARGO_PKG_VERSION"),
            "node started"
        );
        tokio::select! {
            signal = shutdown::signal() => {
                info!(signal = signal.map_err(ServerError::Start)?, "told to stop");
                Ok(())
            }
            Some(fatal) = self.fatal.recv() => Err(fatal.into()),
            failed = upkeep => failed.map_err(ServerError::from),
            Some(port) = ports.ended() => Err(ServerError::Port(port)),
        }
    }

    /// Ends the node. With `orderly`, leaderships are handed over and clients answered first.
    async fn stop(mut self, ports: Ports, orderly: bool) {
        if orderly {
            let grace = Duration::from_millis(self.settings.shutdown_grace_ms);
            shutdown::hand_over(&self.groups, &self.board, &*self.clock, grace).await;
        }
        self.doors.cancel();
        ports.drain().await;
        shutdown::drain(&self.tasks, &self.stop).await;
        let (groups, work, engine) = (self.groups, self.work, self.data.engine.clone());
        let threads = std::mem::take(&mut self.threads);
        let ending = tokio::task::spawn_blocking(move || {
            groups.tell_blocking(Input::Stop);
            let _ = work.send(Work::Stop);
            for thread in threads {
                if thread.join().is_err() {
                    error!("a thread of the replicas panicked");
                }
            }
            engine.flush()
        });
        match ending.await {
            Ok(Ok(())) => info!("node stopped"),
            Ok(Err(error)) => {
                error!(%error, "the last flush failed; the log has what it would have kept")
            }
            Err(error) => error!(%error, "the end was not orderly"),
        }
    }
}

/// The threads of the replicas, and where it comes out what ended one of them.
type Threads = (Vec<JoinHandle<()>>, mpsc::Receiver<Fatal>);

/// Starts the two threads of the replicas; what ends one of them before its time comes out.
fn spawn(
    worker: Worker,
    mailbox: Receiver<Input>,
    applier: Applier,
    work: Receiver<Work>,
) -> Result<Threads, ServerError> {
    let (failed, fatal) = mpsc::channel(2);
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let report = failed.clone();
    let worker = thread("raft").spawn(move || {
        if let Err(error) = worker.run(&mailbox) {
            let _ = report.blocking_send(error);
        }
    });
    let applier = thread("apply").spawn(move || {
        if let Err(error) = applier.run(&work) {
            let _ = failed.blocking_send(error);
        }
    });
    let start = |thread: std::io::Result<_>| thread.map_err(ServerError::Start);
    Ok((vec![start(worker)?, start(applier)?], fatal))
}
