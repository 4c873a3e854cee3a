//! The pods: one container that may do nothing but run a node.

use std::collections::BTreeMap;

use flin_crds::{Quantity as Amount, Resources, names};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodAffinityTerm,
    PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume,
    VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;

use super::{bootstrap_config, config};
use crate::blueprint::Blueprint;
use crate::validate::ValidatedCluster;

/// The name of the data volume, and so the beginning of the claims' names.
pub(super) const VOLUME_DATA: &str = "data";
const VOLUME_BOOTSTRAP: &str = "bootstrap";
const VOLUME_CONFIG: &str = "config";
const VOLUME_SECRETS: &str = "secrets";

const DIRECTORY_DATA: &str = "/var/lib/flin";
const DIRECTORY_BOOTSTRAP: &str = "/etc/flin/bootstrap";
const DIRECTORY_CONFIG: &str = "/etc/flin/config";
const DIRECTORY_SECRETS: &str = "/etc/flin/secrets";

/// The user and group of the node, in its image and on its volumes.
const USER: i64 = 65532;
/// How long a node may take to hand over its leaderships and stop.
const TERMINATION_GRACE_SECONDS: i64 = 30;
/// Files of a Secret: for the group only, which is the node's.
const SECRET_FILE_MODE: i32 = 0o440;
/// Files of a ConfigMap.
const CONFIG_FILE_MODE: i32 = 0o444;

pub(super) fn template(cluster: &ValidatedCluster, blueprint: &Blueprint) -> PodTemplateSpec {
    let scheduling = &blueprint.scheduling;
    let pull_secrets: Vec<_> = scheduling
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(names::labels(&cluster.name)),
            annotations: Some(annotations(blueprint)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(cluster.name.clone()),
            automount_service_account_token: Some(false),
            // A Service named "flin" would otherwise give the node variables that look like settings.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
            security_context: Some(pod_security()),
            containers: vec![container(cluster, blueprint)],
            volumes: Some(volumes(cluster)),
            affinity: Some(apart(cluster)),
            topology_spread_constraints: Some(vec![
                spread(cluster, "topology.kubernetes.io/zone"),
                spread(cluster, "kubernetes.io/hostname"),
            ]),
            node_selector: filled(&scheduling.node_selector),
            tolerations: (!scheduling.tolerations.is_empty())
                .then(|| scheduling.tolerations.clone()),
            priority_class_name: scheduling.priority_class_name.clone(),
            image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
            ..PodSpec::default()
        }),
    }
}

fn container(cluster: &ValidatedCluster, blueprint: &Blueprint) -> Container {
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Container {
        name: "node".to_owned(),
        image: Some(blueprint.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["server".to_owned()]),
        env: Some(environment(cluster)),
        ports: Some(vec![
            port("resp", names::PORT_RESP),
            port("grpc", names::PORT_GRPC),
            port("http", names::PORT_HTTP),
            port("peer", names::PORT_PEER),
            port("cluster", names::PORT_CLUSTER),
        ]),
        resources: resources(&blueprint.resources),
        // Recovery of a large log is no reason to be killed; after it, only a node that answers nothing
        // for a minute is.
        startup_probe: Some(Probe { failure_threshold: Some(300), ..probe("/healthz", 2, 2) }),
        liveness_probe: Some(Probe { failure_threshold: Some(6), ..probe("/healthz", 10, 5) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 2, 2) }),
        security_context: Some(container_security()),
        // A node that refuses its disk says why in its last line; the status repeats it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            mount(VOLUME_DATA, DIRECTORY_DATA, false),
            mount(VOLUME_BOOTSTRAP, DIRECTORY_BOOTSTRAP, true),
            mount(VOLUME_CONFIG, DIRECTORY_CONFIG, true),
            mount(VOLUME_SECRETS, DIRECTORY_SECRETS, true),
        ]),
        ..Container::default()
    }
}

fn environment(cluster: &ValidatedCluster) -> Vec<EnvVar> {
    let text = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    };
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    // Variables may name those above them.
    let host = names::host(
        "$(FLIN_NODE_NAME)",
        &cluster.name,
        &cluster.namespace,
        &cluster.cluster_domain,
    );
    let nodes = names::headless_service(&cluster.name);
    // The dot ends the name: with fewer than five dots inside it would be tried in every search domain first,
    // which may take longer than a node waits.
    let domain = cluster.cluster_domain.trim_end_matches('.');
    let nodes = format!("{nodes}.{}.svc.{domain}.", cluster.namespace);
    let (client, peer) = (names::SECRET_CLIENT_PASSWORD, names::SECRET_PEER_SECRET);
    vec![
        field("FLIN_NODE_NAME", "metadata.name"),
        // Kubernetes labels pods with the zone of their machine since 1.35; before, it is empty.
        field("FLIN_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
        text("FLIN_ADVERTISED_PEER_ADDRESS", format!("{host}:{}", names::PORT_PEER)),
        text("FLIN_ADVERTISED_CLIENT_ADDRESS", format!("{host}:{}", names::PORT_CLUSTER)),
        // Whoever founded the cluster may be gone; this leads to the nodes that there are, ready or not.
        text("FLIN_JOIN_ADDRESS", format!("{nodes}:{}", names::PORT_PEER)),
        text("FLIN_CONFIG_FILE", format!("{DIRECTORY_CONFIG}/{}", config::FILE)),
        text("FLIN_DATA_DIR", DIRECTORY_DATA.to_owned()),
        text("FLIN_BOOTSTRAP_FILE", format!("{DIRECTORY_BOOTSTRAP}/{}", bootstrap_config::FILE)),
        text("FLIN_CLIENT_PASSWORD_FILE", format!("{DIRECTORY_SECRETS}/{client}")),
        text("FLIN_PEER_SECRET_FILE", format!("{DIRECTORY_SECRETS}/{peer}")),
    ]
}

fn probe(path: &str, period_seconds: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(timeout_seconds),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn volumes(cluster: &ValidatedCluster) -> Vec<Volume> {
    let config_map = |volume: &str, name: String| Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name,
            default_mode: Some(CONFIG_FILE_MODE),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let item =
        |key: &str| KeyToPath { key: key.to_owned(), path: key.to_owned(), ..KeyToPath::default() };
    vec![
        config_map(VOLUME_BOOTSTRAP, names::bootstrap_config_map(&cluster.name)),
        config_map(VOLUME_CONFIG, names::config_map(&cluster.name)),
        Volume {
            name: VOLUME_SECRETS.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(cluster.passwords.secret_name().to_owned()),
                default_mode: Some(SECRET_FILE_MODE),
                items: Some(vec![
                    item(names::SECRET_CLIENT_PASSWORD),
                    item(names::SECRET_PEER_SECRET),
                ]),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

/// Nodes on one host would fall together; where there are fewer hosts than nodes they may all the same.
fn apart(cluster: &ValidatedCluster) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        label_selector: Some(selector(cluster)),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn spread(cluster: &ValidatedCluster, topology_key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(cluster)),
        ..TopologySpreadConstraint::default()
    }
}

fn selector(cluster: &ValidatedCluster) -> LabelSelector {
    LabelSelector { match_labels: Some(names::selector(&cluster.name)), ..LabelSelector::default() }
}

/// What the pod was made from, its settings among it, and where it is scraped.
fn annotations(blueprint: &Blueprint) -> BTreeMap<String, String> {
    let (port, revision) = (names::PORT_HTTP.to_string(), blueprint.revision());
    [
        (names::ANNOTATION_REVISION, revision.as_str()),
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/port", port.as_str()),
        ("prometheus.io/path", "/metrics"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn resources(wanted: &Resources) -> Option<ResourceRequirements> {
    let quantities = |amounts: &BTreeMap<String, Amount>| {
        let pairs = amounts
            .iter()
            .map(|(name, amount)| (name.clone(), Quantity(amount.as_str().to_owned())));
        (!amounts.is_empty()).then(|| pairs.collect())
    };
    let requests = quantities(&wanted.requests);
    let limits = quantities(&wanted.limits);
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements {
        requests,
        limits,
        ..ResourceRequirements::default()
    })
}

fn filled(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}
