//! A FlinCluster `demo`, its API server, its nodes, and an operator that can be restarted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flin_crds::{FlinCluster, FlinClusterStatus};
use flin_operator::metrics::Metrics;
use flin_operator::nodes::{NodeError, Nodes, Password, Report, ReportedMember};
use flin_operator::reconcile::{Context, Error, reconcile};
use flin_operator::validate::Defaults;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::api::Api;

pub const DEMO: &str = "/apis/flin.io/v1alpha1/namespaces/flin/flinclusters/demo";
pub const STATEFULSET: &str = "/apis/apps/v1/namespaces/flin/statefulsets/demo";
pub const SECRET: &str = "/api/v1/namespaces/flin/secrets/demo-auth";
pub const BOOTSTRAP: &str = "/api/v1/namespaces/flin/configmaps/demo-bootstrap";
pub const SERVICE: &str = "/api/v1/namespaces/flin/services/demo";
pub const BUDGET: &str = "/apis/policy/v1/namespaces/flin/poddisruptionbudgets/demo";

/// Everything around the operator, and the operator.
pub struct World {
    pub api: Api,
    pub nodes: Arc<FakeNodes>,
    context: Arc<Context>,
}

/// Nodes that say what they are told to say.
#[derive(Default)]
pub struct FakeNodes {
    pub report: Mutex<Option<Report>>,
    pub confirmed: Mutex<Vec<String>>,
    /// Whether they refuse to be told that they are formed.
    pub refuse_confirmation: Mutex<bool>,
}

impl Nodes for FakeNodes {
    fn report<'a>(
        &'a self,
        address: &'a str,
        _: &'a Password,
    ) -> BoxFuture<'a, Result<Report, NodeError>> {
        let report = self.report.lock().expect("not poisoned").clone();
        let silent = NodeError::Prepare { address: address.to_owned(), words: "silent".to_owned() };
        async move { report.ok_or(silent) }.boxed()
    }

    fn confirm_formed<'a>(
        &'a self,
        address: &'a str,
        _: &'a Password,
        cluster_id: &'a str,
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        if *self.refuse_confirmation.lock().expect("not poisoned") {
            let words = "refused".to_owned();
            let refused = NodeError::Prepare { address: address.to_owned(), words };
            return async move { Err(refused) }.boxed();
        }
        self.confirmed.lock().expect("not poisoned").push(cluster_id.to_owned());
        if let Some(report) = self.report.lock().expect("not poisoned").as_mut() {
            report.formed = true;
        }
        async { Ok(()) }.boxed()
    }
}

impl World {
    /// A world in which `demo` was just applied.
    pub fn new() -> Self {
        Self::with_spec(json!({"storage": {"size": "2Gi"}}))
    }

    pub fn with_spec(spec: Value) -> Self {
        let api = Api::default();
        api.put(
            DEMO,
            json!({"apiVersion": "flin.io/v1alpha1", "kind": "FlinCluster",
                   "metadata": {"generation": 1}, "spec": spec}),
        );
        let nodes = Arc::new(FakeNodes::default());
        let context = operator(&api, &nodes);
        Self { api, nodes, context }
    }

    /// A world in which `demo` is formed and runs, and the operator has come to rest.
    pub async fn running() -> Self {
        Self::new().brought_up().await
    }

    pub async fn brought_up(self) -> Self {
        self.passes(2).await;
        self.start_pods();
        self.answer();
        self.passes(3).await;
        self.api.writes();
        self
    }

    /// A new life of the operator, without any memory.
    pub fn restart_operator(&mut self) {
        self.context = operator(&self.api, &self.nodes);
    }

    pub async fn pass(&self) -> Result<Action, Error> {
        self.pass_over(self.demo()).await
    }

    /// A pass that begins with this view of the cluster.
    pub async fn pass_over(&self, view: FlinCluster) -> Result<Action, Error> {
        reconcile(Arc::new(view), Arc::clone(&self.context)).await
    }

    pub async fn passes(&self, count: usize) {
        for _ in 0..count {
            self.pass().await.expect("nothing fails here");
        }
    }

    pub fn demo(&self) -> FlinCluster {
        let json = self.api.get(DEMO).expect("demo is there");
        serde_json::from_value(json).expect("it is a FlinCluster")
    }

    pub fn status(&self) -> FlinClusterStatus {
        self.demo().status.expect("demo has a status")
    }

    pub fn condition(&self, type_: &str) -> Condition {
        let conditions = self.status().conditions;
        conditions.into_iter().find(|condition| condition.type_ == type_).expect("it is there")
    }

    /// A condition as `True AllPartitionsLed`.
    pub fn verdict(&self, type_: &str) -> String {
        let condition = self.condition(type_);
        format!("{} {}", condition.status, condition.reason)
    }

    pub fn cluster_id(&self) -> String {
        self.status().bootstrap.expect("its birth is recorded").cluster_id
    }

    /// The phase that nodes read.
    pub fn announced(&self) -> String {
        let config = self.api.get(BOOTSTRAP).expect("it is there");
        let record = config["data"]["cluster.json"].as_str().expect("it is text");
        let record: Value = serde_json::from_str(record).expect("it is JSON");
        record["phase"].as_str().expect("it is text").to_owned()
    }

    /// The StatefulSet controller and the kubelets do their part.
    pub fn start_pods(&self) {
        for ordinal in 0..3 {
            self.put_pod(ordinal, json!({}));
        }
    }

    pub fn put_pod(&self, ordinal: usize, container: Value) {
        let owner = self.api.get(STATEFULSET).expect("it is there")["metadata"]["uid"].clone();
        let is_ready = if container == json!({}) { "True" } else { "False" };
        self.api.put(
            &format!("/api/v1/namespaces/flin/pods/demo-{ordinal}"),
            json!({
                "metadata": {
                    "labels": {"flin.io/cluster": "demo"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet",
                                         "name": "demo", "uid": owner, "controller": true}],
                },
                "status": {
                    "podIP": format!("10.0.0.{}", ordinal + 1),
                    "conditions": [{"type": "Ready", "status": is_ready}],
                    "containerStatuses": [merged(
                        json!({"name": "node", "image": "", "imageID": "", "ready": true,
                               "restartCount": 0}),
                        container)],
                },
            }),
        );
    }

    /// The nodes answer: every partition is led, every member is alive.
    pub fn answer(&self) {
        let id = self.cluster_id();
        *self.nodes.report.lock().expect("not poisoned") = Some(healthy(&id));
    }

    /// The nodes' answer changes.
    pub fn nodes_say(&self, change: impl FnOnce(&mut Report)) {
        let mut report = self.nodes.report.lock().expect("not poisoned");
        change(report.as_mut().expect("the nodes answer"));
    }
}

pub fn healthy(cluster_id: &str) -> Report {
    let member = |node_id: u64| ReportedMember {
        name: format!("demo-{}", node_id - 1),
        node_id,
        alive: true,
        replicas: 64,
        leaders: 21,
    };
    Report {
        address: "10.0.0.1:6381".to_owned(),
        cluster_id: cluster_id.to_owned(),
        partitions: 64,
        revision: 1,
        members: (1..=3).map(member).collect(),
        version: "0.1.0".to_owned(),
        ..Report::default()
    }
}

fn merged(mut base: Value, more: Value) -> Value {
    for (key, value) in more.as_object().expect("it is an object") {
        base[key] = value.clone();
    }
    base
}

fn operator(api: &Api, nodes: &Arc<FakeNodes>) -> Arc<Context> {
    let defaults = Defaults {
        node_image: "flin-node:0.1.0".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
    };
    let nodes = Arc::clone(nodes) as Arc<dyn Nodes>;
    let metrics = Arc::new(Metrics::default());
    Arc::new(Context::new(api.client(), nodes, defaults, metrics, "operator-0".to_owned()))
}

/// When the operator looks again.
pub fn requeued(seconds: u64) -> Action {
    Action::requeue(Duration::from_secs(seconds))
}
