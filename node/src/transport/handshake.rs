//! Who is calling, and whether it may: the metadata of every call between nodes.

use std::str::FromStr;

use flin_state::ids::{ClusterId, NodeId};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

use crate::settings::Secret;

const CLUSTER: &str = "flin-cluster-id";
const FROM: &str = "flin-from-node";
const TO: &str = "flin-to-node";
const SECRET: &str = "flin-peer-secret";

/// What a node is to its peers.
pub(crate) struct Credentials {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// `None` only in `dev`, where peers are not asked to prove anything.
    pub(crate) secret: Option<Secret>,
}

impl Credentials {
    /// A request from this node to the node `to`.
    pub(crate) fn request<T>(&self, to: NodeId, body: T) -> Request<T> {
        let mut request = Request::new(body);
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, ascii(&self.cluster.to_string()));
        metadata.insert(FROM, ascii(&self.node.to_string()));
        metadata.insert(TO, ascii(&to.to_string()));
        if let Some(secret) = &self.secret {
            metadata.insert(SECRET, ascii(secret.expose()));
        }
        request
    }

    /// The calling node, if the call is for this node of this cluster and proves the secret.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<NodeId, Status> {
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        if let Some(secret) = &self.secret
            && !secret.matches(text(SECRET).unwrap_or_default().as_bytes())
        {
            return Err(Status::unauthenticated(
                "wrong peer secret: nodes of one cluster share the file given by --peer-secret-file",
            ));
        }
        let cluster = text(CLUSTER).unwrap_or("none");
        if ClusterId::from_str(cluster).ok() != Some(self.cluster) {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {}, the caller to cluster {cluster}",
                self.cluster
            )));
        }
        let number = |name| text(name).and_then(|value| value.parse().ok()).map(NodeId);
        if number(TO) != Some(self.node) {
            return Err(Status::failed_precondition(format!(
                "this is node {}, the call is for node {}",
                self.node,
                text(TO).unwrap_or("none")
            )));
        }
        number(FROM).ok_or_else(|| Status::failed_precondition("the call names no sending node"))
    }
}

fn ascii(text: &str) -> MetadataValue<Ascii> {
    MetadataValue::try_from(text).expect("ids are ASCII, and settings refuse a secret that is not")
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn credentials(cluster: u128, node: u64, secret: &str) -> Credentials {
        let secret = Some(Secret::new(secret.to_owned()));
        Credentials { cluster: ClusterId(cluster), node: NodeId(node), secret }
    }

    fn call(from: &Credentials, to: &Credentials, addressed: u64) -> Result<NodeId, Code> {
        to.check(from.request(NodeId(addressed), ()).metadata()).map_err(|status| status.code())
    }

    #[test]
    fn only_peers_of_the_same_cluster_with_the_secret_are_heard() {
        let here = credentials(1, 1, "secret");
        assert_eq!(call(&credentials(1, 2, "secret"), &here, 1), Ok(NodeId(2)));
        assert_eq!(call(&credentials(1, 2, "guess"), &here, 1), Err(Code::Unauthenticated));
        assert_eq!(call(&credentials(9, 2, "secret"), &here, 1), Err(Code::FailedPrecondition));
        assert_eq!(call(&credentials(1, 2, "secret"), &here, 3), Err(Code::FailedPrecondition));
    }
}
