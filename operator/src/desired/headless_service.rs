//! The headless Service that gives each pod a name in DNS, and whose own name leads to all of them: nodes join
//! there. It names pods that are not ready too: nodes must find each other to become ready.

use flin_crds::names;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::validate::ValidatedCluster;

pub(super) fn headless_service(cluster: &ValidatedCluster) -> Service {
    let ports = [
        ("resp", names::PORT_RESP),
        ("grpc", names::PORT_GRPC),
        ("http", names::PORT_HTTP),
        ("peer", names::PORT_PEER),
        ("cluster", names::PORT_CLUSTER),
    ];
    Service {
        metadata: metadata(cluster, names::headless_service(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector(&cluster.name)),
            ports: Some(ports.map(|(name, number)| port(name, number)).into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A port of a Service that leads to the container's port of the same name.
pub(super) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
