//! The Service that clients connect to: any ready node answers for every key.

use flin_crds::{NodePorts, ServiceType, names};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::headless_service::port;
use super::metadata;
use crate::validate::ValidatedCluster;

pub(super) fn client_service(cluster: &ValidatedCluster) -> Service {
    let wanted = &cluster.service;
    let NodePorts { resp, grpc } = wanted.node_ports.clone().unwrap_or_default();
    let ports = vec![
        ServicePort { node_port: resp, ..port("resp", names::PORT_RESP) },
        ServicePort { node_port: grpc, ..port("grpc", names::PORT_GRPC) },
        port("http", names::PORT_HTTP),
    ];
    let type_ = match wanted.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let mut metadata = metadata(cluster, cluster.name.clone());
    if !wanted.annotations.is_empty() {
        metadata.annotations = Some(wanted.annotations.clone());
    }
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            selector: Some(names::selector(&cluster.name)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
