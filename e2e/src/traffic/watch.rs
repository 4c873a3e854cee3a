//! What a cluster says about itself, and whether every partition answers: the facts that the status of a
//! FlinCluster is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::member::State;
use flin_proto::admin::{Cluster, GetClusterRequest};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::TargetOptions;
use super::note::{self, Note};
use super::recorder::unix_us;
use crate::client::{Answer, Client, Mode, Topology, keys_of_partitions};

/// How often the cluster is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Facts are told when they change, and this often when they do not.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);
/// A partition without an answer for this long counts as silent, microseconds.
const SILENCE_US: u64 = 3_000_000;

/// Options of `traffic watch`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: TargetOptions,
    /// `host:port` of the client Service, port 6381.
    #[arg(long)]
    admin: String,
    /// How many partitions the cluster has.
    #[arg(long)]
    partitions: u16,
    /// How often each partition is read.
    #[arg(long, default_value_t = 500)]
    probe_ms: u64,
}

/// What was found at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// When, microseconds since 1970.
    pub(crate) at_us: u64,
    /// Partitions that did not answer a read for three seconds.
    pub(crate) silent: u32,
    /// The newest that any node said; none until the first did.
    pub(crate) cluster: Option<ClusterFacts>,
}

/// A cluster as one of its nodes describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterFacts {
    pub(crate) revision: u64,
    pub(crate) replication_factor: u32,
    pub(crate) under_replicated: u32,
    /// The name of the node that leads the meta group; empty when unknown.
    pub(crate) meta_leader: String,
    /// Moves under way.
    pub(crate) moving: u32,
    pub(crate) replicas_left: u32,
    pub(crate) replicas_moved: u64,
    pub(crate) bytes_moved: u64,
    pub(crate) balanced: bool,
    /// Why nothing moves although something is left; empty otherwise.
    pub(crate) blocked: String,
    pub(crate) members: Vec<MemberFacts>,
}

/// A member of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberFacts {
    pub(crate) node_id: u64,
    pub(crate) name: String,
    /// `Serving`, `Draining`, `Lost` or `Replaced`.
    pub(crate) state: String,
    pub(crate) replicas: u32,
    pub(crate) leaders: u32,
    /// Replicas of any group, the meta group included.
    pub(crate) holds: u32,
}

/// Asks and probes until the process is ended.
///
/// # Errors
/// When address or password cannot be put into a request.
pub(super) async fn run(options: &Options) -> Result<()> {
    let answered = (0..options.partitions).map(|_| AtomicU64::new(unix_us())).collect::<Vec<_>>();
    let (answered, mut probes) = (Arc::new(answered), JoinSet::new());
    let every = Duration::from_millis(options.probe_ms);
    for (at, key) in keys_of_partitions("watch:", options.partitions).into_iter().enumerate() {
        let target = options.target.in_mode(Mode::Plain);
        let client = Client::new(target, Arc::new(Topology::default()));
        probes.spawn(probe(client, key, every, Arc::clone(&answered), at));
    }
    let mut asker = Asker::new(options)?;
    let mut told = Facts::default();
    loop {
        let cluster = asker.ask().await.or_else(|| told.cluster.clone());
        let now_us = unix_us();
        let is_silent =
            |last: &&AtomicU64| now_us.saturating_sub(last.load(Ordering::Relaxed)) > SILENCE_US;
        let silent = answered.iter().filter(is_silent).count();
        let facts = Facts { at_us: now_us, silent: u32::try_from(silent)?, cluster };
        let since = Duration::from_micros(now_us.saturating_sub(told.at_us));
        if since >= TELL_EVERY || told != (Facts { at_us: told.at_us, ..facts.clone() }) {
            note::print(&Note::Facts(facts.clone()));
            told = facts;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Reads one key without end and notes when it was last answered.
async fn probe(
    mut client: Client,
    key: String,
    every: Duration,
    answered: Arc<Vec<AtomicU64>>,
    at: usize,
) {
    loop {
        if let Answer::Done(_) = client.attempt(key.as_bytes(), &[b"GET", key.as_bytes()]).await {
            answered[at].store(unix_us(), Ordering::Relaxed);
        }
        tokio::time::sleep(every).await;
    }
}

/// A connection to whichever node the Service chose, made again when it breaks.
struct Asker {
    endpoint: Endpoint,
    bearer: MetadataValue<Ascii>,
    connection: Option<AdminClient<Channel>>,
    /// Nodes learn of changes one after the other; what an earlier answer knew is not forgotten.
    revision: u64,
}

impl Asker {
    fn new(options: &Options) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{}", options.admin))?;
        let target = options.target.target();
        let bearer = format!("Bearer {}", target.password.as_deref().unwrap_or_default());
        let bearer = bearer.parse().context("the password cannot be sent")?;
        let endpoint = endpoint.connect_timeout(CALL).timeout(CALL);
        Ok(Self { endpoint, bearer, connection: None, revision: 0 })
    }

    /// What the cluster says; none when nobody answers or the answer is older than an earlier one.
    async fn ask(&mut self) -> Option<ClusterFacts> {
        let mut admin = match self.connection.take() {
            Some(admin) => admin,
            None => AdminClient::new(self.endpoint.connect().await.ok()?),
        };
        let mut request = tonic::Request::new(GetClusterRequest {});
        request.metadata_mut().insert("authorization", self.bearer.clone());
        let cluster = admin.get_cluster(request).await.ok()?.into_inner();
        if cluster.revision < self.revision {
            // Another node may know more: the connection is not kept.
            return None;
        }
        self.connection = Some(admin);
        self.revision = cluster.revision;
        Some(ClusterFacts::from(cluster))
    }
}

impl From<Cluster> for ClusterFacts {
    fn from(cluster: Cluster) -> Self {
        let rebalance = cluster.rebalance.unwrap_or_default();
        let leader = cluster.members.iter().find(|member| member.node_id == cluster.meta_leader);
        let meta_leader = leader.map(|member| member.name.clone()).unwrap_or_default();
        let mut members: Vec<_> = cluster
            .members
            .into_iter()
            .map(|member| MemberFacts {
                node_id: member.node_id,
                state: State::try_from(member.state)
                    .map_or_else(|_| "Unknown".to_owned(), |state| format!("{state:?}")),
                name: member.name,
                replicas: member.replicas,
                leaders: member.leaders,
                holds: member.holds,
            })
            .collect();
        members.sort_by(|a, b| (&a.name, a.node_id).cmp(&(&b.name, b.node_id)));
        Self {
            revision: cluster.revision,
            replication_factor: cluster.replication_factor,
            under_replicated: cluster.under_replicated,
            meta_leader,
            moving: rebalance.moving,
            replicas_left: rebalance.replicas_left,
            replicas_moved: rebalance.replicas_moved,
            bytes_moved: rebalance.bytes_moved,
            balanced: rebalance.balanced,
            blocked: rebalance.blocked,
            members,
        }
    }
}

impl Facts {
    /// One line, for stories.
    pub(crate) fn words(&self) -> String {
        let Some(cluster) = &self.cluster else { return "no node was heard".to_owned() };
        let members: Vec<_> = cluster
            .members
            .iter()
            .map(|m| format!("{}#{} {} {}/{}", m.name, m.node_id, m.state, m.leaders, m.replicas))
            .collect();
        format!(
            "{} silent, {} moving, {} left, {} moved, balanced {}, {} short of replicas{}{}; {}",
            self.silent,
            cluster.moving,
            cluster.replicas_left,
            cluster.replicas_moved,
            cluster.balanced,
            cluster.under_replicated,
            if cluster.blocked.is_empty() { "" } else { ", blocked: " },
            cluster.blocked,
            members.join(", "),
        )
    }
}
