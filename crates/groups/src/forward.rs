//! Requests that one node takes in for a partition that another leads.

use bytes::Bytes;
use flin_proto::peer::forward_request::Request as Body;
use flin_proto::peer::forward_result::Result as Outcome;
use flin_state::ids::{GroupId, NodeId};
use flin_state::operation::{Read, Reply, Write};
use tokio::sync::oneshot;

use crate::mailbox::Groups;
use crate::requests::RequestError;

/// A run of operations on its way to a peer.
pub struct Forwarded {
    /// Whose operations.
    pub group: GroupId,
    /// The operations.
    pub run: Run,
    /// Where the outcome goes. Dropped, it says that the request never left this node.
    pub answer: oneshot::Sender<Result<Outcome, Lost>>,
}

/// Encoded operations.
#[derive(Clone, Debug)]
pub enum Run {
    /// Writes of a partition.
    Writes(Bytes),
    /// Reads of a partition.
    Reads(Bytes),
    /// A change of the meta state.
    Change(Bytes),
}

impl Run {
    /// As it crosses the wire.
    pub fn body(self) -> Body {
        match self {
            Run::Writes(bytes) => Body::Write(bytes),
            Run::Reads(bytes) => Body::Read(bytes),
            Run::Change(bytes) => Body::Change(bytes),
        }
    }
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It never left this node.
    NotSent,
    /// It left, and the connection broke before the outcome came.
    Sent,
}

/// The way to the leaders on other nodes.
pub trait Forward: Send + Sync + 'static {
    /// Queues a request for `node`; gives it back when it cannot be taken.
    fn forward(&self, node: NodeId, request: Forwarded) -> Result<(), Forwarded>;
}

/// Does what another node has forwarded, if the group is led here; tells honestly how that ended.
pub async fn serve(groups: &Groups, group: u32, body: Option<Body>) -> Outcome {
    let malformed = |what: String| Outcome::Refused(format!("malformed forwarded request: {what}"));
    match (u16::try_from(group).map(GroupId), body) {
        (Ok(group), Some(Body::Write(bytes))) => match Write::decode_all(bytes) {
            Ok(writes) => outcome(groups.write(group, writes).await),
            Err(error) => malformed(error.to_string()),
        },
        (Ok(group), Some(Body::Read(bytes))) => match Read::decode_all(bytes) {
            Ok(reads) => outcome(groups.read(group, reads).await),
            Err(error) => malformed(error.to_string()),
        },
        (Ok(GroupId::META), Some(Body::Change(json))) => match serde_json::from_slice(&json) {
            Ok(change) => outcome(groups.change(change).await.map(|()| vec![Reply::Ok])),
            Err(error) => malformed(error.to_string()),
        },
        _ => malformed("no operation of a known kind".into()),
    }
}

fn outcome(result: Result<Vec<Reply>, RequestError>) -> Outcome {
    match result {
        Ok(replies) => Outcome::Reply(Reply::encode_all(&replies)),
        Err(RequestError::NotHere { leader }) => {
            Outcome::NotLeader(leader.map_or(0, |node| node.0))
        }
        Err(RequestError::TryLater(words)) => Outcome::TryLater(words),
        Err(RequestError::Unknown(words)) => Outcome::Unknown(words),
        Err(RequestError::Refused(words)) => Outcome::Refused(words),
    }
}
