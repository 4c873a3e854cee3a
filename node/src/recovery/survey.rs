//! What a node finds on its disk, and how it says so.

use std::collections::BTreeMap;

use flin_groups::board::Board;
use flin_proto::peer::{Sighting as WireSighting, SurveyResponse};
use flin_state::Malformed;
use flin_state::cluster::{ClusterState, Sighting};
use flin_state::engine::{Engine, EngineError};
use flin_state::ids::{GroupId, LogIndex, NodeId, ReplicaId, Term};
use flin_state::keys::GroupState;
use flin_state::log::{GroupRecord, Log, LogError};

use crate::transport::joining::wire_state;

/// Why a disk cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurveyError {
    #[error("read the state")]
    Engine(#[from] EngineError),
    #[error("read the log")]
    Log(#[from] LogError),
}

/// Every replica that `board`'s node hosts. While the node runs, those without a quorum stand still.
pub(super) fn look(
    engine: &dyn Engine,
    log: &dyn Log,
    board: &Board,
) -> Result<BTreeMap<GroupId, Sighting>, SurveyError> {
    let mut seen = BTreeMap::new();
    for (group, record) in log.groups() {
        let GroupRecord::Hosted(replica) = record else { continue };
        let Some(state) = GroupState::load(engine, group)? else { continue };
        let last = log.last_index(group);
        let sighting = Sighting {
            node: board.node(),
            replica,
            state,
            term: log.hard_state(group).term,
            last,
            last_term: log.term(group, last)?,
            leads: board.leadership(group).leader == Some(board.node()),
        };
        seen.insert(group, sighting);
    }
    Ok(seen)
}

/// What a peer is answered.
pub(super) fn wire(
    seen: BTreeMap<GroupId, Sighting>,
    state: Option<&ClusterState>,
) -> SurveyResponse {
    let replicas = seen.into_iter().map(|(group, one)| WireSighting {
        group: u32::from(group.0),
        replica: one.replica.0,
        state: one.state.encode(),
        term: one.term.0,
        last: one.last.0,
        last_term: one.last_term.0,
        leads: one.leads,
    });
    SurveyResponse { replicas: replicas.collect(), state: state.map(wire_state) }
}

/// What `node` answered.
pub(super) fn unwire(
    node: NodeId,
    answer: SurveyResponse,
) -> Result<(BTreeMap<GroupId, Sighting>, Option<ClusterState>), Malformed> {
    let malformed = |what| Malformed { what, offset: 0 };
    let mut seen = BTreeMap::new();
    for one in answer.replicas {
        let group = u16::try_from(one.group).map_err(|_| malformed("group"))?;
        let sighting = Sighting {
            node,
            replica: ReplicaId(one.replica),
            state: GroupState::decode(one.state)?,
            term: Term(one.term),
            last: LogIndex(one.last),
            last_term: Term(one.last_term),
            leads: one.leads,
        };
        seen.insert(GroupId(group), sighting);
    }
    let state = answer.state.map(|state| ClusterState::from_json(&state.json)).transpose();
    Ok((seen, state.map_err(|_| malformed("state of the cluster"))?))
}

#[cfg(test)]
mod tests {
    use flin_state::membership::Configuration;

    use super::*;

    #[test]
    fn what_is_seen_arrives_as_it_was_said() {
        let configuration = Configuration::of_voters([(ReplicaId(4), NodeId(2))]);
        let sighting = Sighting {
            node: NodeId(2),
            replica: ReplicaId(4),
            state: GroupState { keys: 8, ..GroupState::initial(configuration) },
            term: Term(9),
            last: LogIndex(70),
            last_term: Term(8),
            leads: true,
        };
        let seen = BTreeMap::from([(GroupId(3), sighting)]);
        let answer = wire(seen.clone(), None);
        assert_eq!(unwire(NodeId(2), answer.clone()), Ok((seen, None)));
        let mut broken = answer;
        broken.replicas[0].state = broken.replicas[0].state.slice(1..);
        assert!(unwire(NodeId(2), broken).is_err());
    }
}
