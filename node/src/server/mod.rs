//! A whole node: data, threads, ports, and an orderly end.

mod data;
mod membership;
mod outbox;
mod ports;
mod readiness;
mod shutdown;
mod upkeep;
mod volume;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flin_groups::board::Board;
use flin_groups::clock::Clock;
use flin_groups::form::form;
use flin_groups::rebalance::rebalance;
use flin_groups::router::Router;
use flin_groups::{Fatal, Ground, Groups, Host, Input, Mailbox, Timing};
use flin_state::cluster::Farewell;
use flin_state::engine::EngineError;
use flin_state::ids::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

pub use data::DataError;

use crate::bootstrap::{Bootstrap, BootstrapError};
use crate::clock::SystemClock;
use crate::cluster::{self, Description, JoinError};
use crate::metrics::Metrics;
use crate::recovery::Desk;
use crate::settings::Settings;
use crate::transport::handshake::Credentials;
use crate::transport::peers::Peers;
use crate::transport::snapshot::{Limits, SnapshotSender};
use data::{Claim, Data};
use membership::off_reactor;
use outbox::PeerOutbox;
use ports::Ports;
use readiness::Readiness;
use shutdown::Signals;
use upkeep::upkeep;

/// Why a node ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The bootstrap file cannot be used.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The node is no member and cannot ask to be one.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The cluster let the node go; its data directory is marked to be emptied.
    #[error("removed from the cluster; starts anew as a new node")]
    Removed,
    /// Another node took this one's name while the cluster still counted on its data.
    #[error(
        "another node took the name of this one; its data are kept until the cluster has made every replica \
         anew elsewhere, then it is removed and starts anew as a new node"
    )]
    Replaced,
    /// The node was ordered to go on with what is left of its groups, which it does when it starts again.
    #[error("starting again to recover")]
    Recovering,
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

/// Runs a node until it is told to stop (`SIGTERM` or `SIGINT`), hands over what it leads, and ends. The HTTP port
/// answers from before the node joins its cluster, or reads its log, until the end.
///
/// # Errors
/// [`ServerError`]: what ended it before its time. Everything acknowledged is on stable storage all the
/// same.
pub async fn run(settings: Settings) -> Result<(), ServerError> {
    let bootstrap = Bootstrap::read(&settings.bootstrap_file, &settings.node_name)?;
    let (known, told) = (settings.clone(), bootstrap.clone());
    let claim = off_reactor(move || Claim::take(&known, &told)).await?;
    let rim = Rim::new();
    let ended = run_within(&rim, settings, bootstrap, claim).await;
    // A node drains by itself, before its threads end.
    if !rim.stop.is_cancelled() {
        shutdown::drain(&rim.tasks, &rim.stop).await;
    }
    ended
}

async fn run_within(
    rim: &Rim,
    settings: Settings,
    bootstrap: Bootstrap,
    claim: Claim,
) -> Result<(), ServerError> {
    let mut signals = Signals::listen().map_err(ServerError::Start)?;
    ports::open_health(&settings, rim).await?;
    let (claim, id) = tokio::select! {
        settled = membership::settle(claim, &settings, &bootstrap, &rim.readiness) => settled?,
        signal = signals.told() => {
            info!(signal, "told to stop before the node was a member");
            return Ok(());
        }
    };
    let (known, told) = (settings.clone(), bootstrap.clone());
    let data = off_reactor(move || claim.open(id, &known, &told)).await?;
    let mut node = Node::start(rim, settings, bootstrap, id, data)?;
    let mut ports = ports::open(&node).await?;
    let ended = node.serve(&mut ports, &mut signals).await;
    let orderly = matches!(
        ended,
        Ok(()) | Err(ServerError::Removed | ServerError::Replaced | ServerError::Recovering)
    );
    node.stop(ports, orderly).await;
    ended
}

/// What surrounds a node and is there before it: its health, what it counts, and its end.
struct Rim {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    tasks: TaskTracker,
    /// Ends everything on the reactor but the doors for clients.
    stop: CancellationToken,
}

impl Rim {
    fn new() -> Self {
        Rim {
            clock: Arc::new(SystemClock::start()),
            metrics: Metrics::new(),
            readiness: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// A running node.
struct Node {
    settings: Settings,
    bootstrap: Bootstrap,
    board: Arc<Board>,
    groups: Groups,
    peers: Arc<Peers>,
    router: Router,
    recovery: Arc<Desk>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    data: Data,
    threads: Vec<JoinHandle<()>>,
    fatal: mpsc::Receiver<Fatal>,
    tasks: TaskTracker,
    /// Ends the doors for clients.
    doors: CancellationToken,
    /// That of the rim.
    stop: CancellationToken,
}

impl Node {
    fn start(
        rim: &Rim,
        settings: Settings,
        bootstrap: Bootstrap,
        id: NodeId,
        data: Data,
    ) -> Result<Self, ServerError> {
        let (clock, metrics) = (rim.clock.clone(), rim.metrics.clone());
        let (tasks, stop) = (rim.tasks.clone(), rim.stop.clone());
        let timing = Timing {
            tick: Duration::from_millis(settings.tick_ms),
            election_ticks: settings.election_ticks,
            heartbeat_ticks: settings.heartbeat_ticks,
        };
        let board = Board::new(id);
        rim.readiness.set_running(board.clone());
        let mailbox = Mailbox::new();
        let groups = mailbox.groups.clone();
        let credentials = Arc::new(Credentials {
            cluster: bootstrap.genesis.cluster_id,
            node: id,
            secret: settings.secrets.peer_secret.clone(),
        });
        let peers =
            Peers::new(credentials, board.clone(), groups.clone(), tasks.clone(), stop.clone());
        let ground = Ground {
            log: data.log.clone(),
            engine: data.engine.clone(),
            clock: clock.clone(),
            outbox: Box::new(PeerOutbox {
                peers: peers.clone(),
                snapshots: SnapshotSender::new(
                    data.engine.clone(),
                    peers.clone(),
                    groups.clone(),
                    board.clone(),
                    metrics.core.clone(),
                    Limits::default(),
                ),
                tasks: tasks.clone(),
                runtime: tokio::runtime::Handle::current(),
                stop: stop.clone(),
            }),
            board: board.clone(),
            metrics: metrics.core.clone(),
            timing,
            seed: rand::random(),
        };
        let host = Host::open(ground, mailbox)?;
        let cluster = host.cluster().cloned();
        let (threads, fatal) = spawn(host)?;
        // The newer one stays on the board: a replica of the meta group may have been away for long.
        for state in [cluster, cluster::load_cached(&data.cluster_cache)].into_iter().flatten() {
            board.set_cluster(Arc::new(state));
        }
        match &board.view().cluster {
            Some(state) => peers.meet_members(state),
            None => {
                let members = bootstrap.genesis.members.iter();
                peers.meet(members.map(|member| (member.node_id, member.peer_address.clone())));
            }
        }
        let router = Router::new(groups.clone(), board.clone(), peers.clone(), clock.clone());
        let recovery = Arc::new(Desk {
            board: board.clone(),
            peers: peers.clone(),
            router: router.clone(),
            engine: data.engine.clone(),
            log: data.log.clone(),
            directory: data.directory.path().to_owned(),
            restart: CancellationToken::new(),
        });
        let doors = CancellationToken::new();
        Ok(Node {
            settings,
            bootstrap,
            board,
            groups,
            peers,
            router,
            recovery,
            clock,
            metrics,
            data,
            threads,
            fatal,
            tasks,
            doors,
            stop,
        })
    }

    /// Serves until told to stop, until the cluster lets the node go, or until something fails.
    async fn serve(&mut self, ports: &mut Ports, signals: &mut Signals) -> Result<(), ServerError> {
        let (farewells, mut farewell) = mpsc::channel(1);
        self.spawn_cluster_tasks(farewells);
        let upkeep = upkeep(
            self.data.engine.clone(),
            self.data.log.clone(),
            self.settings.log_budget_bytes,
            self.groups.clone(),
            self.stop.clone(),
        );
        info!(
            node = %self.board.node(),
            cluster = %self.bootstrap.genesis.cluster_id,
            resp = %self.settings.resp_address,
            version = env!("CARGO_PKG_VERSION"),
            "node started"
        );
        tokio::select! {
            signal = signals.told() => {
                info!(signal, "told to stop");
                Ok(())
            }
            Some(farewell) = farewell.recv() => Err(self.take_leave(farewell).await),
            () = self.recovery.restart.cancelled() => Err(ServerError::Recovering),
            Some(fatal) = self.fatal.recv() => Err(fatal.into()),
            failed = upkeep => failed.map_err(ServerError::from),
            Some(port) = ports.ended() => Err(ServerError::Port(port)),
        }
    }

    /// Starts what keeps this node and the cluster informed of each other.
    fn spawn_cluster_tasks(&self, farewells: mpsc::Sender<Farewell>) {
        let genesis = || self.bootstrap.genesis.clone();
        let (board, stop) = (|| self.board.clone(), || self.stop.clone());
        let cache = self.data.cluster_cache.clone();
        let (groups, peers) = (self.groups.clone(), self.peers.clone());
        self.tasks.spawn(cluster::spread(board(), groups, peers, cache, farewells, stop()));
        let (join_address, peers) = (self.settings.join_address.clone(), self.peers.clone());
        self.tasks.spawn(cluster::follow(genesis(), join_address, board(), peers, stop()));
        let clock = || self.clock.clone();
        self.tasks.spawn(form(genesis(), self.groups.clone(), board(), clock(), stop()));
        let description = Description::of(&self.settings);
        self.tasks.spawn(cluster::describe(description, board(), self.router.clone(), stop()));
        self.tasks.spawn(rebalance(
            board(),
            self.router.clone(),
            clock(),
            self.metrics.rebalance.clone(),
            stop(),
        ));
        self.tasks.spawn(volume::measure(self.settings.data_dir.clone(), board(), stop()));
    }

    /// Marks the data as superfluous if they are, and says how the node ends.
    async fn take_leave(&self, farewell: Farewell) -> ServerError {
        match farewell {
            Farewell::Replaced => ServerError::Replaced,
            Farewell::Removed => {
                let directory = self.data.directory.clone();
                let retire = move || Ok(directory.retire()?);
                off_reactor(retire).await.err().unwrap_or(ServerError::Removed)
            }
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
        let (groups, engine) = (self.groups, self.data.engine.clone());
        let threads = std::mem::take(&mut self.threads);
        let ending = tokio::task::spawn_blocking(move || {
            groups.tell_blocking(Input::Stop);
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
fn spawn(host: Host) -> Result<Threads, ServerError> {
    let (failed, fatal) = mpsc::channel(2);
    let (worker, applier) = host.threads();
    let worker = thread("raft", worker, failed.clone())?;
    Ok((vec![worker, thread("apply", applier, failed)?], fatal))
}

fn thread(
    name: &str,
    work: impl FnOnce() -> Result<(), Fatal> + Send + 'static,
    failed: mpsc::Sender<Fatal>,
) -> Result<JoinHandle<()>, ServerError> {
    let work = move || {
        if let Err(error) = work() {
            let _ = failed.blocking_send(error);
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(ServerError::Start)
}
