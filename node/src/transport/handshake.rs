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

/// Stands for a node that is no member yet, and for one of which only the address is known.
const NOBODY: NodeId = NodeId(0);

/// What a node is to its peers.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// `None` only in `dev`, where peers are not asked to prove anything.
    pub(crate) secret: Option<Secret>,
}

impl Credentials {
    /// What a node is before it is a member.
    pub(crate) fn of_stranger(cluster: ClusterId, secret: Option<Secret>) -> Self {
        Credentials { cluster, node: NOBODY, secret }
    }

    /// A request from this node to the node `to`.
    pub(crate) fn request<T>(&self, to: NodeId, body: T) -> Request<T> {
        self.request_between(self.node, to, body)
    }

    /// A request to whichever node listens at an address. Only what strangers may ask is answered.
    pub(crate) fn request_to_address<T>(&self, body: T) -> Request<T> {
        self.request_between(NOBODY, NOBODY, body)
    }

    fn request_between<T>(&self, from: NodeId, to: NodeId, body: T) -> Request<T> {
        let mut request = Request::new(body);
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, ascii(&self.cluster.to_string()));
        metadata.insert(FROM, ascii(&from.to_string()));
        metadata.insert(TO, ascii(&to.to_string()));
        if let Some(secret) = &self.secret {
            metadata.insert(SECRET, ascii(secret.expose()));
        }
        request
    }

    /// The calling node, if the call is for this node of this cluster and proves the secret.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<NodeId, Status> {
        self.check_cluster(metadata)?;
        if number(metadata, TO) != Some(self.node) {
            return Err(Status::failed_precondition(format!(
                "this is node {}, the call is for node {}",
                self.node,
                text(metadata, TO).unwrap_or("none")
            )));
        }
        number(metadata, FROM)
            .filter(|from| *from != NOBODY)
            .ok_or_else(|| Status::failed_precondition("the call names no sending node"))
    }

    /// Whether a call that a stranger may make is for this cluster and proves the secret.
    pub(crate) fn check_stranger(&self, metadata: &MetadataMap) -> Result<(), Status> {
        self.check_cluster(metadata)?;
        let nobody = |name| number(metadata, name) == Some(NOBODY);
        if nobody(FROM) && nobody(TO) {
            Ok(())
        } else {
            Err(Status::failed_precondition("this call is made from node 0 to node 0"))
        }
    }

    fn check_cluster(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if let Some(secret) = &self.secret
            && !secret.matches(text(metadata, SECRET).unwrap_or_default().as_bytes())
        {
            return Err(Status::unauthenticated(
                "wrong peer secret: nodes of one cluster share the file given by --peer-secret-file",
            ));
        }
        let cluster = text(metadata, CLUSTER).unwrap_or("none");
        if ClusterId::from_str(cluster).ok() != Some(self.cluster) {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {}, the caller to cluster {cluster}",
                self.cluster
            )));
        }
        Ok(())
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &'static str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

fn number(metadata: &MetadataMap, name: &'static str) -> Option<NodeId> {
    text(metadata, name).and_then(|value| value.parse().ok()).map(NodeId)
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

    #[test]
    fn strangers_are_heard_where_they_may_ask_and_nowhere_else() {
        let here = credentials(1, 1, "secret");
        let ask = |cluster, secret: &str| {
            let secret = Some(Secret::new(secret.to_owned()));
            let stranger = Credentials::of_stranger(ClusterId(cluster), secret);
            here.check_stranger(stranger.request_to_address(()).metadata()).map_err(|s| s.code())
        };
        assert_eq!(ask(1, "secret"), Ok(()));
        assert_eq!(ask(1, "guess"), Err(Code::Unauthenticated));
        assert_eq!(ask(9, "secret"), Err(Code::FailedPrecondition));
        // What members say to each other needs a name, and what strangers say has none.
        assert_eq!(call(&credentials(1, 0, "secret"), &here, 1), Err(Code::FailedPrecondition));
        let member = credentials(1, 2, "secret").request(NodeId(1), ());
        assert!(here.check_stranger(member.metadata()).is_err());
        assert!(here.check_stranger(here.request_to_address(()).metadata()).is_ok());
    }
}
