//! The bootstrap record as nodes read it. Pods mount it as a directory, so that a change reaches them
//! without a restart.

use flin_crds::{BootstrapPhase, names};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};

use super::{Unwritable, metadata};
use crate::plan::Settle;
use crate::validate::ValidatedCluster;

/// The key, and so the file's name.
pub(super) const FILE: &str = "cluster.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    cluster_id: &'a str,
    partitions: i32,
    replication_factor: i32,
    phase: BootstrapPhase,
    members: Vec<Member<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    name: &'a str,
    node_id: i64,
    peer_address: &'a str,
    client_address: &'a str,
    /// Where the member will run is not known before it does.
    zone: &'static str,
}

pub(super) fn bootstrap_config(
    cluster: &ValidatedCluster,
    settle: &Settle,
) -> Result<ConfigMap, Unwritable> {
    let bootstrap = &settle.bootstrap;
    let record = Record {
        cluster_id: &bootstrap.cluster_id,
        partitions: bootstrap.partitions,
        replication_factor: bootstrap.replication_factor,
        phase: settle.announced,
        members: bootstrap
            .members
            .iter()
            .map(|member| Member {
                name: &member.name,
                node_id: member.node_id,
                peer_address: &member.peer_address,
                client_address: &member.client_address,
                zone: "",
            })
            .collect(),
    };
    let json = serde_json::to_string_pretty(&record)
        .map_err(|source| Unwritable { what: "the bootstrap record", source })?;
    Ok(ConfigMap {
        metadata: metadata(cluster, names::bootstrap_config_map(&cluster.name)),
        data: Some([(FILE.to_owned(), json + "\n")].into()),
        ..ConfigMap::default()
    })
}

/// The phase that a bootstrap record announces; `None` when it cannot be read.
#[must_use]
pub fn announced(config: &ConfigMap) -> Option<BootstrapPhase> {
    #[derive(Deserialize)]
    struct Announced {
        phase: BootstrapPhase,
    }
    let json = config.data.as_ref()?.get(FILE)?;
    serde_json::from_str::<Announced>(json).ok().map(|record| record.phase)
}
