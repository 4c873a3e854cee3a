//! How the operator is set up: flags, or the environment.

use clap::{Parser, ValueEnum};

use crate::failpoint::Boundary;

/// The image tag of the nodes when a FlinCluster names no image: the operator's own version.
const NODE_IMAGE: &str = concat!("flin-node:", env!("CARGO_PKG_VERSION"));

/// Turns FlinCluster objects into running Flin clusters.
#[derive(Clone, Debug, Parser)]
#[command(name = "flin-operator", version)]
pub struct Settings {
    /// Only look after FlinClusters in this namespace; all namespaces when empty.
    #[arg(long, env = "FLIN_OPERATOR_WATCH_NAMESPACE", default_value = "")]
    pub watch_namespace: String,

    /// The namespace of the operator itself, where its lease is.
    #[arg(long, env = "FLIN_OPERATOR_NAMESPACE", default_value = "flin-system")]
    pub namespace: String,

    /// The name of this operator among its peers: its pod.
    #[arg(long, env = "FLIN_OPERATOR_POD_NAME", default_value = "flin-operator")]
    pub pod_name: String,

    /// The image of the nodes of clusters that name none.
    #[arg(long, env = "FLIN_OPERATOR_NODE_IMAGE", default_value = NODE_IMAGE)]
    pub node_image: String,

    /// The DNS domain of the Kubernetes cluster.
    #[arg(long, env = "FLIN_OPERATOR_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "FLIN_OPERATOR_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_address: std::net::SocketAddr,

    /// How many clusters are reconciled at the same time.
    #[arg(long, env = "FLIN_OPERATOR_CONCURRENCY", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,

    /// What is logged, for example `info` or `flin_operator=debug,info`.
    #[arg(long, env = "FLIN_OPERATOR_LOG", default_value = "info")]
    pub log: String,

    /// The form of the log.
    #[arg(long, env = "FLIN_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// End the process at these boundaries between two steps, once at each. For tests.
    #[arg(
        long,
        env = "FLIN_OPERATOR_FAILPOINT",
        value_enum,
        value_delimiter = ',',
        hide = true,
        requires = "failpoint_memory"
    )]
    pub failpoint: Vec<Boundary>,

    /// Where it is remembered at which boundaries the process ended: a folder that outlives it.
    #[arg(long, env = "FLIN_OPERATOR_FAILPOINT_MEMORY", hide = true)]
    pub failpoint_memory: Option<std::path::PathBuf>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
