//! Reads everything a pass needs to know: the objects of the cluster, its pods, the volumes that an
//! earlier cluster may have left, and what the nodes say. Objects are read from the API server and not
//! from a cache, so that no decision rests on an old view; watches only say when to look.

mod claims;
mod passwords;
mod pods;
mod report;

pub use claims::Claim;
pub use passwords::{Complaint, PasswordsFound};
pub use pods::Pod;
pub use report::address;

use std::fmt::Debug;

use flin_crds::names;
use futures::try_join;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::nodes::{Nodes, Report};
use crate::validate::ValidatedCluster;

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The pods' identity.
    pub service_account: Option<ServiceAccount>,
    /// The Service that names the pods.
    pub headless_service: Option<Service>,
    /// The Service for clients.
    pub client_service: Option<Service>,
    /// The bootstrap record as the nodes read it.
    pub bootstrap_config: Option<ConfigMap>,
    /// The nodes' settings.
    pub config: Option<ConfigMap>,
    /// The limit on voluntary disruptions.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The nodes.
    pub statefulset: Option<StatefulSet>,
    /// The passwords.
    pub passwords: PasswordsFound,
    /// The pods of the StatefulSet, by ordinal.
    pub pods: Vec<Pod>,
    /// Volume claims named like this cluster's; read only while its birth is not recorded.
    pub claims: Vec<Claim>,
    /// The cluster as its nodes know it, when one of them answered.
    pub report: Option<Report>,
}

/// Something could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {kind} {name}")]
pub struct Error {
    /// What it is.
    pub kind: &'static str,
    /// Its name, or whose they are.
    pub name: String,
    /// Why.
    pub source: kube::Error,
}

/// Reads what is there of a cluster.
///
/// # Errors
/// [`Error`] if the API server does not answer. Nodes that do not answer are no error: there is no report.
pub async fn observe(
    client: &Client,
    nodes: &dyn Nodes,
    cluster: &ValidatedCluster,
) -> Result<Observed, Error> {
    let at = (client, cluster.namespace.as_str());
    let name = &cluster.name;
    let (service_account, headless_service, client_service) = try_join!(
        read::<ServiceAccount>(at, "ServiceAccount", name.clone()),
        read::<Service>(at, "Service", names::headless_service(name)),
        read::<Service>(at, "Service", name.clone()),
    )?;
    let (bootstrap_config, config, disruption_budget, statefulset) = try_join!(
        read::<ConfigMap>(at, "ConfigMap", names::bootstrap_config_map(name)),
        read::<ConfigMap>(at, "ConfigMap", names::config_map(name)),
        read::<PodDisruptionBudget>(at, "PodDisruptionBudget", name.clone()),
        read::<StatefulSet>(at, "StatefulSet", names::statefulset(name)),
    )?;
    let (passwords, pods) =
        try_join!(passwords::read(at, cluster), pods::read(at, cluster, statefulset.as_ref()))?;
    let (claims, report) = match &cluster.bootstrap {
        None => (claims::read(at, cluster).await?, None),
        Some(bootstrap) => (
            Vec::new(),
            report::ask(nodes, &bootstrap.cluster_id, passwords.client_password(), &pods).await,
        ),
    };
    Ok(Observed {
        service_account,
        headless_service,
        client_service,
        bootstrap_config,
        config,
        disruption_budget,
        statefulset,
        passwords,
        pods,
        claims,
        report,
    })
}

impl Observed {
    /// The objects that are there, with what names them.
    pub fn objects(&self) -> impl Iterator<Item = (&'static str, &ObjectMeta)> {
        fn of<'a, K: Resource>(
            kind: &'static str,
            object: Option<&'a K>,
        ) -> Option<(&'static str, &'a ObjectMeta)> {
            object.map(|object| (kind, object.meta()))
        }
        [
            of("StatefulSet", self.statefulset.as_ref()),
            of("Service", self.client_service.as_ref()),
            of("Service", self.headless_service.as_ref()),
            of("ConfigMap", self.bootstrap_config.as_ref()),
            of("ConfigMap", self.config.as_ref()),
            of("PodDisruptionBudget", self.disruption_budget.as_ref()),
            of("ServiceAccount", self.service_account.as_ref()),
        ]
        .into_iter()
        .flatten()
    }

    /// How many pods are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.pods.iter().filter(|pod| pod.ready).count()
    }
}

/// Where to read: the client and the namespace.
type At<'a> = (&'a Client, &'a str);

async fn read<K>(
    (client, namespace): At<'_>,
    kind: &'static str,
    name: String,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.get_opt(&name).await.map_err(|source| Error { kind, name, source })
}
