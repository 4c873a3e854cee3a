//! Writes the objects that differ from what they should be, by server-side apply, and no others: a
//! pass over a settled cluster writes nothing.

mod drift;
mod ledger;

pub use ledger::Ledger;

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::info;

use crate::desired::{Desired, Unwritable};
use crate::metrics::Metrics;
use crate::observe::Observed;

use flin_crds::names::OPERATOR;

/// An object could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take it.
    #[error("write {kind} {name}")]
    Write {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It could not be put into words.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

/// Writes objects.
#[derive(Clone, Copy)]
pub struct Applier<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// How the API server spells what it was given.
    pub ledger: &'a Ledger,
    /// Where writes are counted.
    pub metrics: &'a Metrics,
}

impl Applier<'_> {
    /// Brings every object to what it should be, and says how many had to be written.
    ///
    /// # Errors
    /// [`Error`], of the first object that could not be written; those before it are.
    pub async fn settle(&self, desired: &Desired, observed: &Observed) -> Result<usize, Error> {
        let writes = [
            self.one(&desired.service_account, observed.service_account.as_ref()).await?,
            self.one(&desired.bootstrap_config, observed.bootstrap_config.as_ref()).await?,
            self.one(&desired.config, observed.config.as_ref()).await?,
            self.one(&desired.headless_service, observed.headless_service.as_ref()).await?,
            self.one(&desired.client_service, observed.client_service.as_ref()).await?,
            self.one(&desired.disruption_budget, observed.disruption_budget.as_ref()).await?,
            match &desired.statefulset {
                Some(statefulset) => self.one(statefulset, observed.statefulset.as_ref()).await?,
                None => false,
            },
        ];
        Ok(writes.into_iter().filter(|written| *written).count())
    }

    /// Creates the Secret with the passwords; one that is there already is left as it is.
    ///
    /// # Errors
    /// [`Error::Write`] if the API server does not take it.
    pub async fn create_secret(&self, secret: &Secret) -> Result<(), Error> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        match api.create(&PostParams::default(), secret).await {
            Ok(_) => self.metrics.wrote("Secret"),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => {
                return Err(Error::Write { kind: "Secret", name, source: Box::new(source) });
            }
        }
        info!(%name, namespace, "created the Secret with new passwords");
        Ok(())
    }

    /// Writes one object if it differs from what it should be; says whether it did.
    async fn one<K>(&self, desired: &K, observed: Option<&K>) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let kind = kind_of::<K>();
        let name = desired.meta().name.clone().unwrap_or_default();
        let namespace = desired.meta().namespace.clone().unwrap_or_default();
        let wanted = drift::Wanted::new(desired)?;
        let key = ledger::Key { kind, namespace: namespace.clone(), name: name.clone() };
        if let Some(observed) = observed {
            let there = wanted.projected(observed)?;
            if there == wanted.json || self.ledger.is_known(&key, &wanted.hash, &there) {
                return Ok(false);
            }
        }
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let parameters = PatchParams::apply(OPERATOR).force();
        let stored =
            api.patch(&name, &parameters, &Patch::Apply(&wanted.json)).await.map_err(|source| {
                Error::Write { kind, name: name.clone(), source: Box::new(source) }
            })?;
        self.metrics.wrote(kind);
        info!(kind, %name, %namespace, created = observed.is_none(), "applied");
        self.ledger.record(key, &wanted, wanted.projected(&stored)?);
        Ok(true)
    }
}

fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "object",
    }
}
