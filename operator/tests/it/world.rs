//! A FlinCluster `demo`, its API server, its nodes, and an operator that can be restarted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flin_crds::{FlinCluster, FlinClusterStatus};
use flin_operator::failpoint::Failpoint;
use flin_operator::metrics::Metrics;
use flin_operator::nodes::{
    MemberState, NodeError, Nodes, Order, Password, Rebalance, RebalanceSettings, Report,
    ReportedMember,
};
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
    /// The image of nodes that an operator started from now on brings.
    pub node_image: String,
    context: Arc<Context>,
}

/// Nodes that say what they are told to say.
#[derive(Default)]
pub struct FakeNodes {
    pub report: Mutex<Option<Report>>,
    pub confirmed: Mutex<Vec<String>>,
    /// Whether they refuse to be told that they are formed.
    pub refuse_confirmation: Mutex<bool>,
    /// The orders they took.
    pub orders: Mutex<Vec<Order>>,
    /// Why they take no orders.
    pub refuse_orders: Mutex<Option<String>>,
    /// Who was told to step down, or with `undo` to lead again.
    pub stepped_down: Mutex<Vec<(String, bool)>>,
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

    fn order<'a>(
        &'a self,
        address: &'a str,
        _: &'a Password,
        cluster_id: &'a str,
        order: &'a Order,
    ) -> BoxFuture<'a, Result<(), NodeError>> {
        if let Some(words) = self.refuse_orders.lock().expect("not poisoned").clone() {
            let status = Box::new(tonic::Status::failed_precondition(words));
            let refused = NodeError::Call { call: "order", address: address.to_owned(), status };
            return async move { Err(refused) }.boxed();
        }
        let mut report = self.report.lock().expect("not poisoned");
        let report = report.as_mut().expect("only nodes that answer are told");
        assert_eq!(report.cluster_id, cluster_id);
        self.orders.lock().expect("not poisoned").push(order.clone());
        obey(report, order);
        async { Ok(()) }.boxed()
    }

    fn step_down<'a>(
        &'a self,
        address: &'a str,
        _: &'a Password,
        undo: bool,
    ) -> BoxFuture<'a, Result<u32, NodeError>> {
        self.stepped_down.lock().expect("not poisoned").push((address.to_owned(), undo));
        async { Ok(0) }.boxed()
    }
}

/// What the nodes make of an order at once; moving takes its time.
fn obey(report: &mut Report, order: &Order) {
    report.revision += 1;
    match order {
        Order::SetReplicationFactor(factor) => {
            report.replication_factor = *factor;
            report.rebalance.balanced = false;
            report.rebalance.replicas_left = 64;
        }
        Order::SetRebalance(settings) => report.rebalance.settings = *settings,
        Order::SetDraining(nodes) => {
            report.rebalance.balanced = false;
            for member in &mut report.members {
                member.state = match nodes.contains(&member.node_id) {
                    true => MemberState::Draining,
                    false => MemberState::Serving,
                };
            }
        }
        Order::RemoveMember(node) => {
            let member = report.members.iter().find(|member| member.node_id == *node);
            assert_eq!(member.map(|member| member.holds), Some(0), "only empty nodes go");
            report.members.retain(|member| member.node_id != *node);
        }
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
        let node_image = "flin-node:0.1.0".to_owned();
        let context = operator(&api, &nodes, &node_image);
        Self { api, nodes, node_image, context }
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
        self.api.events();
        self
    }

    /// A change of the spec by a person.
    pub fn ask(&self, change: impl FnOnce(&mut Value)) {
        self.api.change(DEMO, |demo| {
            change(&mut demo["spec"]);
            let generation = demo["metadata"]["generation"].as_i64().unwrap_or_default();
            demo["metadata"]["generation"] = json!(generation + 1);
        });
    }

    /// How many nodes the StatefulSet has.
    pub fn set_replicas(&self) -> u64 {
        let set = self.api.get(STATEFULSET).expect("it is there");
        set["spec"]["replicas"].as_u64().expect("it is a number")
    }

    /// The StatefulSet controller and the kubelets do their part: pods that are missing come from the
    /// template, those beyond the number go.
    pub fn sync_pods(&self) {
        let replicas = usize::try_from(self.set_replicas()).expect("it is small");
        for ordinal in 0..20 {
            let is_there = self.api.get(&pod_path(ordinal)).is_some();
            if ordinal < replicas && !is_there {
                self.put_pod(ordinal, json!({}));
            } else if ordinal >= replicas && is_there {
                self.api.remove(&pod_path(ordinal));
            }
        }
    }

    /// Nodes whose pods run and who are no members become some, with new numbers.
    pub fn nodes_join(&self) {
        let replicas = self.set_replicas();
        self.nodes_say(|report| {
            for ordinal in 0..replicas {
                let name = format!("demo-{ordinal}");
                if !report.members.iter().any(|member| member.name == name) {
                    let last = report.members.iter().map(|member| member.node_id).max();
                    let node_id = last.unwrap_or_default().max(9) + 1;
                    let alive = true;
                    report.members.push(ReportedMember {
                        name,
                        node_id,
                        alive,
                        ..ReportedMember::default()
                    });
                    report.rebalance.balanced = false;
                    report.rebalance.replicas_left = 30;
                }
            }
        });
    }

    /// Everything is moved that is to be moved.
    pub fn moves_finish(&self) {
        self.nodes_say(|report| {
            report.rebalance = Rebalance {
                balanced: true,
                settings: report.rebalance.settings,
                ..Rebalance::default()
            };
            for member in &mut report.members {
                let serves = member.state == MemberState::Serving;
                member.holds = if serves { 65 } else { 0 };
            }
        });
    }

    /// The phase of the scale, in the words of the status.
    pub fn scale_phase(&self) -> flin_crds::ScalePhase {
        self.status().scale.expect("it is recorded").phase
    }

    /// The orders the nodes took since the last call.
    pub fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.nodes.orders.lock().expect("not poisoned"))
    }

    /// A new life of the operator, without any memory.
    pub fn restart_operator(&mut self) {
        self.context = operator(&self.api, &self.nodes, &self.node_image);
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
        let set = self.api.get(STATEFULSET).expect("it is there");
        let owner = set["metadata"]["uid"].clone();
        let annotations = set["spec"]["template"]["metadata"]["annotations"].clone();
        let is_ready = if container == json!({}) { "True" } else { "False" };
        self.api.put(
            &pod_path(ordinal),
            json!({
                "metadata": {
                    "annotations": annotations,
                    "labels": {"flin.io/cluster": "demo"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet",
                                         "name": "demo", "uid": owner, "controller": true}],
                },
                "status": {
                    "podIP": format!("10.0.0.{}", ordinal + 1),
                    "conditions": [{"type": "Ready", "status": is_ready,
                                    "lastTransitionTime": "2026-01-01T00:00:00Z"}],
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

pub fn pod_path(ordinal: usize) -> String {
    format!("/api/v1/namespaces/flin/pods/demo-{ordinal}")
}

/// How replicas are moved unless the spec says otherwise.
pub fn usual_pace() -> RebalanceSettings {
    RebalanceSettings {
        paused: false,
        max_moves: 4,
        bytes_per_second: 0,
        replace_after_seconds: 600,
    }
}

pub fn healthy(cluster_id: &str) -> Report {
    let member = |node_id: u64| ReportedMember {
        name: format!("demo-{}", node_id - 1),
        node_id,
        alive: true,
        replicas: 64,
        leaders: 21,
        holds: 65,
        ..ReportedMember::default()
    };
    Report {
        address: "10.0.0.1:6381".to_owned(),
        cluster_id: cluster_id.to_owned(),
        partitions: 64,
        replication_factor: 3,
        revision: 1,
        meta_led: true,
        rebalance: Rebalance { balanced: true, settings: usual_pace(), ..Rebalance::default() },
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

fn operator(api: &Api, nodes: &Arc<FakeNodes>, node_image: &str) -> Arc<Context> {
    let defaults =
        Defaults { node_image: node_image.to_owned(), cluster_domain: "cluster.local".to_owned() };
    let nodes = Arc::clone(nodes) as Arc<dyn Nodes>;
    let metrics = Arc::new(Metrics::default());
    let (name, failpoint) = ("operator-0".to_owned(), Failpoint::default());
    Arc::new(Context::new(api.client(), nodes, defaults, metrics, name, failpoint))
}

/// When the operator looks again.
pub fn requeued(seconds: u64) -> Action {
    Action::requeue(Duration::from_secs(seconds))
}
