//! Becoming a member: what a node with an empty disk asks of those that have one.

use std::error::Error;
use std::time::Duration;

use flin_proto::peer::peer_client::PeerClient;
use flin_proto::peer::{JoinRequest, JoinResponse};
use flin_state::cluster::ClusterState;
use flin_state::ids::NodeId;
use futures::future::join_all;
use tokio::time::Instant;
use tonic::Status;
use tracing::{info, warn};

use super::contacts::{Contacts, Found};
use crate::bootstrap::Bootstrap;
use crate::settings::Settings;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::transport::connecting::Whereabouts;
use crate::transport::handshake::Credentials;

/// How long one node may take to answer; the cluster has to agree meanwhile.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// How long a founder waits for others to say that the cluster exists. They answer from memory.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// The pause after everybody was asked in vain, doubled each time up to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often it is said why this node has not joined yet.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Why a node cannot even ask.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody said where others reach it.
    #[error(
        "{name} has an empty data directory and is not among the first members ({members}), so it must join \
         the cluster; set advertised_peer_address and advertised_client_address to where others reach it, \
         or check node_name"
    )]
    NoAddress {
        /// The node's name.
        name: String,
        /// The names of the first members.
        members: String,
    },
    /// There is nobody to ask.
    #[error(
        "{name} has an empty data directory, and neither the bootstrap file nor join_address names anybody \
         else to join; restore its volume, or set join_address if the cluster has other nodes"
    )]
    NobodyToAsk {
        /// The node's name.
        name: String,
    },
}

/// A node that wants to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applicant {
    name: String,
    peer_address: String,
    client_address: String,
    zone: String,
    contacts: Contacts,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) node: NodeId,
    pub(crate) state: ClusterState,
}

impl Applicant {
    /// The node that `settings` and `bootstrap` describe; settings count more.
    ///
    /// # Errors
    /// [`JoinError`], if either of them has to be changed first.
    pub(crate) fn new(settings: &Settings, bootstrap: &Bootstrap) -> Result<Self, JoinError> {
        let name = settings.node_name.clone();
        let namesake = bootstrap.namesake();
        let peer_address = settings.advertised_peer_address.clone();
        let peer_address = peer_address.or_else(|| namesake.map(|m| m.peer_address.clone()));
        let client_address = settings.advertised_client_address.clone();
        let client_address = client_address.or_else(|| namesake.map(|m| m.client_address.clone()));
        let (Some(peer_address), Some(client_address)) = (peer_address, client_address) else {
            return Err(JoinError::NoAddress { name, members: bootstrap.member_names() });
        };
        let contacts = Contacts::new(settings, bootstrap).without(&peer_address);
        if contacts.is_nobody() {
            return Err(JoinError::NobodyToAsk { name });
        }
        let zone = settings.zone.clone();
        let zone = zone.or_else(|| namesake.map(|m| m.zone.clone())).unwrap_or_default();
        Ok(Applicant { name, peer_address, client_address, zone, contacts })
    }

    /// Asks one node after the other to be made a member under `nonce`, which is on disk already, until one
    /// consents; for ever if need be. Whom there is to ask is looked up anew each time round.
    pub(crate) async fn join(&self, credentials: &Credentials, nonce: &str) -> Joined {
        let request = JoinRequest {
            nonce: nonce.to_owned(),
            name: self.name.clone(),
            peer_address: self.peer_address.clone(),
            client_address: self.client_address.clone(),
            zone: self.zone.clone(),
            probe: false,
        };
        info!(name = self.name, nonce, asking = ?self.contacts, "joining the cluster");
        let mut complained = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let Found { addresses, obstacle } = self.contacts.find().await;
            let mut refusals: Vec<String> = obstacle.into_iter().collect();
            for address in &addresses {
                let answer = ask(credentials, address, request.clone(), ANSWER_TIME).await;
                match answer.and_then(Joined::from_answer) {
                    Ok(joined) => {
                        info!(node = %joined.node, at = %address, "joined the cluster");
                        return joined;
                    }
                    Err(status) => refusals.push(format!("{address}: {}", status.message())),
                }
                complain(&refusals, &mut complained);
            }
            complain(&refusals, &mut complained);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Says what keeps the node from joining, unless it was said a moment ago.
fn complain(refusals: &[String], last: &mut Instant) {
    if last.elapsed() >= COMPLAINT_INTERVAL {
        *last = Instant::now();
        let reasons = refusals.join("; ");
        warn!(reasons, "cannot join the cluster yet; asking again until it works");
    }
}

impl Joined {
    fn from_answer(answer: JoinResponse) -> Result<Self, Status> {
        let state = read_state(&answer)?
            .ok_or_else(|| Status::data_loss("the answer carries no state of the cluster"))?;
        let node = NodeId(answer.node_id);
        if !state.members.contains_key(&node) {
            return Err(Status::data_loss(format!("node {node} is no member of the state it got")));
        }
        Ok(Joined { node, state })
    }
}

/// Whether any of `contacts` says that the cluster is formed. One that is not found or does not answer says nothing.
pub(crate) async fn is_formed(credentials: &Credentials, contacts: &Contacts) -> bool {
    let Found { addresses, obstacle } = contacts.find().await;
    if let Some(obstacle) = obstacle {
        info!(obstacle, "the join address leads to nobody yet");
    }
    let probes = addresses.iter().map(|address| probe(credentials, address));
    join_all(probes).await.into_iter().any(|answer| answer.is_ok_and(|answer| answer.formed))
}

/// Asks the node at `address` for the state of the cluster, whichever node it is; `None` if it knows none.
pub(crate) async fn state_at(
    credentials: &Credentials,
    address: &str,
) -> Result<Option<ClusterState>, Status> {
    read_state(&probe(credentials, address).await?)
}

async fn probe(credentials: &Credentials, address: &str) -> Result<JoinResponse, Status> {
    let request = JoinRequest { probe: true, ..Default::default() };
    ask(credentials, address, request, PROBE_TIME).await
}

async fn ask(
    credentials: &Credentials,
    address: &str,
    request: JoinRequest,
    patience: Duration,
) -> Result<JoinResponse, Status> {
    let asking = async {
        let channel = Whereabouts::new(address.to_owned())
            .connect()
            .await
            .map_err(|error| Status::unavailable(format!("cannot connect: {}", root(&error))))?;
        let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.join(credentials.request_to_address(request)).await?.into_inner())
    };
    tokio::time::timeout(patience, asking)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer")))
}

/// The first cause of an error: only it says whether a name is unknown or a port is closed.
fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

fn read_state(answer: &JoinResponse) -> Result<Option<ClusterState>, Status> {
    let state = answer.state.as_ref().map(|state| ClusterState::from_json(&state.json));
    state
        .transpose()
        .map_err(|error| Status::data_loss(format!("a malformed state of the cluster: {error}")))
}

/// A random UUID (version 4): the nonce that tells one empty disk from another.
pub(crate) fn random_nonce() -> String {
    let bits: u128 = rand::random();
    let bits = bits & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use flin_state::cluster::{Genesis, GenesisMember};
    use flin_state::ids::ClusterId;

    use super::*;
    use crate::bootstrap::Phase;
    use crate::settings::Given;

    fn bootstrap(own: Option<u64>, members: u64) -> Bootstrap {
        let members = (1..=members).map(|id| GenesisMember {
            name: format!("n{id}"),
            node_id: NodeId(id),
            peer_address: format!("n{id}:6383"),
            client_address: format!("n{id}:6384"),
            zone: "z".into(),
        });
        let genesis = Genesis {
            cluster_id: ClusterId(7),
            partitions: 2,
            replication_factor: 1,
            members: members.collect(),
        };
        Bootstrap { genesis, phase: Phase::Formed, node_id: own.map(NodeId) }
    }

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let mut given = Given::default();
        for (key, value) in [("node_name", "n2"), ("allow_no_auth", "true")].iter().chain(flags) {
            given.flag(key, value);
        }
        Settings::load(&given).unwrap()
    }

    async fn asked(applicant: &Applicant) -> Vec<String> {
        applicant.contacts.find().await.addresses
    }

    #[tokio::test]
    async fn first_member_without_its_disk_joins_where_the_bootstrap_file_says_it_is() {
        let applicant = Applicant::new(&settings(&[]), &bootstrap(Some(2), 3)).unwrap();
        assert_eq!(applicant.peer_address, "n2:6383");
        assert_eq!((applicant.client_address.as_str(), applicant.zone.as_str()), ("n2:6384", "z"));
        assert_eq!(asked(&applicant).await, ["n1:6383", "n3:6383"]);
    }

    #[test]
    fn settings_outrank_the_bootstrap_file() {
        let flags = [("advertised_peer_address", "here:1"), ("zone", "y")];
        let applicant = Applicant::new(&settings(&flags), &bootstrap(Some(2), 3)).unwrap();
        assert_eq!(applicant.peer_address, "here:1");
        assert_eq!((applicant.client_address.as_str(), applicant.zone.as_str()), ("n2:6384", "y"));
    }

    #[tokio::test]
    async fn later_node_must_say_where_it_is() {
        let one = [("advertised_peer_address", "here:1")];
        let error = Applicant::new(&settings(&one), &bootstrap(None, 3)).unwrap_err().to_string();
        assert!(error.contains("set advertised_peer_address and"), "{error}");
        assert!(error.contains("n1, n2, n3"), "{error}");
        let both = [one[0], ("advertised_client_address", "here:2")];
        let applicant = Applicant::new(&settings(&both), &bootstrap(None, 3)).unwrap();
        assert_eq!(asked(&applicant).await.len(), 3);
    }

    #[test]
    fn only_member_without_its_disk_has_nobody_to_ask() {
        let error = Applicant::new(&settings(&[]), &bootstrap(Some(1), 1)).unwrap_err();
        assert!(matches!(error, JoinError::NobodyToAsk { .. }), "{error}");
    }

    #[tokio::test]
    async fn only_member_without_its_disk_asks_whoever_the_join_address_leads_to() {
        let settings = settings(&[("join_address", "127.0.0.1:7002")]);
        let applicant = Applicant::new(&settings, &bootstrap(Some(1), 1)).unwrap();
        assert_eq!(asked(&applicant).await, ["127.0.0.1:7002"]);
        assert_eq!(applicant.peer_address, "n1:6383");
    }

    #[test]
    fn join_address_that_is_the_nodes_own_is_nobody() {
        let settings = settings(&[("join_address", "n1:6383")]);
        let error = Applicant::new(&settings, &bootstrap(Some(1), 1)).unwrap_err();
        assert!(matches!(error, JoinError::NobodyToAsk { .. }), "{error}");
    }

    #[tokio::test]
    async fn name_that_leads_to_nobody_keeps_nobody_from_founding() {
        // `.invalid` never resolves.
        let settings = settings(&[("join_address", "nodes.invalid:6383")]);
        let contacts = Contacts::new(&settings, &bootstrap(Some(1), 1));
        let stranger = Credentials::of_stranger(ClusterId(7), None);
        assert!(!is_formed(&stranger, &contacts).await);
    }

    #[test]
    fn nonces_are_uuids_and_differ() {
        let (one, other) = (random_nonce(), random_nonce());
        assert_ne!(one, other);
        for nonce in [one, other] {
            let parts: Vec<_> = nonce.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{nonce}");
            assert_eq!(&nonce[14..15], "4", "{nonce}");
            assert!("89ab".contains(&nonce[19..20]), "{nonce}");
        }
    }
}
