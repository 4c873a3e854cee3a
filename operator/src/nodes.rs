//! What the operator asks of the nodes, over their gRPC administration service.

use std::fmt;
use std::time::Duration;

use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::{ConfirmFormedRequest, GetClusterRequest, GetNodeRequest};
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// How long a connection to a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The clients' password of a cluster; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(hidden)")
    }
}

/// A cluster as one of its nodes knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The address that was asked, `host:port`.
    pub address: String,
    /// The cluster's identity.
    pub cluster_id: String,
    /// Whether clients are served.
    pub formed: bool,
    /// The number of partitions.
    pub partitions: u32,
    /// The revision of the meta state it is from.
    pub revision: u64,
    /// Partitions that miss a live, caught-up copy.
    pub under_replicated: u32,
    /// Partitions without a leader.
    pub leaderless: u32,
    /// The members.
    pub members: Vec<ReportedMember>,
    /// The version of the asked node.
    pub version: String,
}

/// A member as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedMember {
    /// The pod's name.
    pub name: String,
    /// Its number.
    pub node_id: u64,
    /// Whether the asked node hears from it.
    pub alive: bool,
    /// The copies it holds.
    pub replicas: u32,
    /// The partitions it leads.
    pub leaders: u32,
}

/// A call that a node did not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address or password cannot be put into a request.
    #[error("prepare a call to {address}: {words}")]
    Prepare {
        /// The node's address.
        address: String,
        /// What is wrong.
        words: String,
    },
    /// Nobody answers there.
    #[error("connect to {address}")]
    Connect {
        /// The node's address.
        address: String,
        /// Why.
        source: Box<tonic::transport::Error>,
    },
    /// The node refused or failed.
    #[error("{call} at {address}: {}", status.message())]
    Call {
        /// The call.
        call: &'static str,
        /// The node's address.
        address: String,
        /// Its answer.
        status: Box<Status>,
    },
}

/// The nodes of clusters; a parameter, so that tests need none.
pub trait Nodes: Send + Sync {
    /// The cluster as the node at `address` knows it.
    fn report<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
    ) -> BoxFuture<'a, Result<Report, NodeError>>;

    /// Tells the cluster, through the node at `address`, that its birth is recorded. Repeating it is no
    /// error.
    fn confirm_formed<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
    ) -> BoxFuture<'a, Result<(), NodeError>>;
}

/// The nodes as they are reached over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteNodes;

impl Nodes for RemoteNodes {
    fn report<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
    ) -> BoxFuture<'a, Result<Report, NodeError>> {
        async move {
            let (mut admin, bearer) = connect(address, password).await?;
            let cluster = admin
                .get_cluster(with_bearer(GetClusterRequest {}, &bearer))
                .await
                .map_err(|status| failed("get cluster", address, status))?
                .into_inner();
            // A node that does not say its version is no less a witness of its cluster.
            let version = match admin.get_node(with_bearer(GetNodeRequest {}, &bearer)).await {
                Ok(node) => node.into_inner().version,
                Err(_) => String::new(),
            };
            let members = cluster.members.into_iter().map(|member| ReportedMember {
                name: member.name,
                node_id: member.node_id,
                alive: member.alive,
                replicas: member.replicas,
                leaders: member.leaders,
            });
            Ok(Report {
                address: address.to_owned(),
                cluster_id: cluster.cluster_id,
                formed: cluster.formed,
                partitions: cluster.partitions,
                revision: cluster.revision,
                under_replicated: cluster.under_replicated,
                leaderless: cluster.leaderless,
                members: members.collect(),
                version,
            })
        }
        .boxed()
    }

    fn confirm_formed<'a>(
        &'a self,
        address: &'a str,
        password: &'a Password,
        cluster_id: &'a str,
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        async move {
            let (mut admin, bearer) = connect(address, password).await?;
            let request = ConfirmFormedRequest { cluster_id: cluster_id.to_owned() };
            admin
                .confirm_formed(with_bearer(request, &bearer))
                .await
                .map(|_| ())
                .map_err(|status| failed("confirm formed", address, status))
        }
        .boxed()
    }
}

async fn connect(
    address: &str,
    Password(password): &Password,
) -> Result<(AdminClient<Channel>, MetadataValue<Ascii>), NodeError> {
    let prepare =
        |words: &str| NodeError::Prepare { address: address.to_owned(), words: words.to_owned() };
    let bearer = MetadataValue::try_from(format!("Bearer {password}"))
        .map_err(|_| prepare("the client password has characters that no header may have"))?;
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| prepare("this is no address"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .connect()
        .await
        .map_err(|source| NodeError::Connect {
            address: address.to_owned(),
            source: Box::new(source),
        })?;
    Ok((AdminClient::new(channel), bearer))
}

fn with_bearer<T>(message: T, bearer: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    request
}

fn failed(call: &'static str, address: &str, status: Status) -> NodeError {
    NodeError::Call { call, address: address.to_owned(), status: Box::new(status) }
}
