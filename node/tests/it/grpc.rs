//! The gRPC port over a cluster in memory, through real connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flin_groups::requests::RequestError;
use flin_node::grpc::admin::{AdminError, Administration, Wishes};
use flin_node::grpc::{GrpcOptions, serve};
use flin_node::http::Health;
use flin_node::settings::Secret;
use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::{
    Cluster, ConfigureRequest, ConfirmFormedRequest, GetClusterRequest, ListPartitionsResponse,
    Node, RebalanceSettings, RecoverRequest, RecoverResponse, RemoveMemberRequest,
    SetDrainingRequest, StepDownRequest,
};
use flin_proto::keys::batch_request::{Write, write::Write as Body};
use flin_proto::keys::batch_response::result::Result as Outcome;
use flin_proto::keys::keys_client::KeysClient;
use flin_proto::keys::set_request::Condition;
use flin_proto::keys::{
    BatchRequest, CompareAndSetRequest, DeleteRequest, GetRequest, IncrementRequest, ScanRequest,
    SetRequest,
};
use flin_state::ids::{ClusterId, NodeId};
use flin_state::slot::partition_of_key;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::memory::MemoryCluster;

const PARTITIONS: u16 = 8;
const PASSWORD: &str = "hunter2";

/// What this node says of itself.
struct Fake {
    ready: Mutex<Result<(), String>>,
    /// What it was configured with last.
    wished: Mutex<Wishes>,
}

impl Health for Fake {
    fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap().clone()
    }
}

impl Administration for Fake {
    async fn get_cluster(&self) -> Result<Cluster, AdminError> {
        Ok(Cluster { partitions: PARTITIONS.into(), ..Default::default() })
    }

    async fn list_partitions(&self) -> Result<ListPartitionsResponse, AdminError> {
        Err(AdminError::TryLater("the cluster is not known yet".into()))
    }

    async fn get_node(&self) -> Result<Node, AdminError> {
        Ok(Node::default())
    }

    async fn confirm_formed(&self, cluster_id: ClusterId) -> Result<(), AdminError> {
        if cluster_id == ClusterId(7) {
            return Ok(());
        }
        Err(AdminError::Refused(format!("this is not cluster {cluster_id}")))
    }

    async fn step_down(&self, undo: bool) -> Result<u32, AdminError> {
        Ok(if undo { 0 } else { 3 })
    }

    async fn set_draining(&self, _: ClusterId, nodes: BTreeSet<NodeId>) -> Result<(), AdminError> {
        if nodes.len() < 2 {
            return Ok(());
        }
        Err(AdminError::Refused("2 of 3 nodes cannot hold 3 replicas".into()))
    }

    async fn remove_member(&self, _: ClusterId, node: NodeId) -> Result<(), AdminError> {
        Err(AdminError::Refused(format!("node {node} holds 5 replicas")))
    }

    async fn configure(&self, _: ClusterId, wishes: Wishes) -> Result<(), AdminError> {
        *self.wished.lock().unwrap() = wishes;
        Ok(())
    }

    async fn recover(
        &self,
        _: ClusterId,
        lost: BTreeSet<NodeId>,
        accept: bool,
    ) -> Result<RecoverResponse, AdminError> {
        let alone = lost.iter().map(|node| u32::try_from(node.0).unwrap()).collect();
        Ok(RecoverResponse { alone, done: accept, ..Default::default() })
    }
}

/// Adds the password that it has to every call.
#[derive(Clone)]
struct Proof(Option<&'static str>);

impl Interceptor for Proof {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(password) = self.0 {
            let header = MetadataValue::try_from(format!("Bearer {password}")).unwrap();
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }
}

type Proven = InterceptedService<Channel, Proof>;

struct Door {
    cluster: MemoryCluster,
    node: Arc<Fake>,
    channel: Channel,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Door {
    async fn open() -> Door {
        let cluster = MemoryCluster::new(PARTITIONS);
        let node = Arc::new(Fake { ready: Mutex::new(Ok(())), wished: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = GrpcOptions {
            password: Some(Secret::new(PASSWORD.to_owned())),
            request_bytes_max: 1 << 20,
            connections_max: 2,
        };
        let stop = CancellationToken::new();
        let serving =
            serve(listener, cluster.clone(), node.clone(), node.clone(), options, stop.clone());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Door { cluster, node, channel, stop, server }
    }

    fn proven(&self) -> Proven {
        InterceptedService::new(self.channel.clone(), Proof(Some(PASSWORD)))
    }

    fn keys(&self) -> KeysClient<Proven> {
        KeysClient::new(self.proven())
    }

    fn admin(&self) -> AdminClient<Proven> {
        AdminClient::new(self.proven())
    }

    async fn close(self) {
        drop(self.channel);
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn set(key: &str, value: &str) -> SetRequest {
    SetRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn get(key: &str) -> GetRequest {
    GetRequest { key: bytes(key) }
}

fn write(body: Body) -> Write {
    Write { write: Some(body) }
}

#[tokio::test]
async fn key_lives_as_long_as_it_was_told() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let request = SetRequest { ttl_ms: Some(1_000), ..set("k", "v") };
    assert!(keys.set(request).await.unwrap().into_inner().applied);
    let found = keys.get(get("k")).await.unwrap().into_inner();
    assert_eq!((found.found, &found.value[..], found.ttl_ms), (true, &b"v"[..], Some(1_000)));

    door.cluster.pass_ms(1_000);
    let gone = keys.get(get("k")).await.unwrap().into_inner();
    assert_eq!((gone.found, gone.ttl_ms), (false, None));
    door.close().await;
}

#[tokio::test]
async fn conditions_hold_or_nothing_is_done() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let if_present = SetRequest { condition: Condition::IfPresent.into(), ..set("k", "x") };
    assert!(!keys.set(if_present).await.unwrap().into_inner().applied);
    let if_absent = SetRequest { condition: Condition::IfAbsent.into(), ..set("k", "v") };
    assert!(keys.set(if_absent.clone()).await.unwrap().into_inner().applied);
    assert!(!keys.set(if_absent).await.unwrap().into_inner().applied);

    let swap = |expected: Option<&str>, value: Option<&str>| CompareAndSetRequest {
        key: bytes("k"),
        expected: expected.map(bytes),
        value: value.map(bytes),
    };
    let refused = keys.compare_and_set(swap(None, Some("w"))).await.unwrap().into_inner();
    assert_eq!((refused.applied, refused.current), (false, Some(bytes("v"))));
    assert!(keys.compare_and_set(swap(Some("v"), None)).await.unwrap().into_inner().applied);
    assert!(!keys.get(get("k")).await.unwrap().into_inner().found);
    door.close().await;
}

#[tokio::test]
async fn counters_count_and_what_is_no_number_is_a_failed_precondition() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let add = |key: &str, by| IncrementRequest { key: bytes(key), by };
    assert_eq!(keys.increment(add("n", 5)).await.unwrap().into_inner().value, 5);
    assert_eq!(keys.increment(add("n", -7)).await.unwrap().into_inner().value, -2);
    keys.set(set("text", "abc")).await.unwrap();
    let status = keys.increment(add("text", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("not an integer"), "{status}");
    door.close().await;
}

#[tokio::test]
async fn batch_answers_every_write_in_order_over_all_partitions() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let names: Vec<String> = (0..40).map(|i| format!("key-{i}")).collect();
    let mut writes: Vec<Write> =
        names.iter().map(|name| write(Body::Set(set(name, "abc")))).collect();
    writes.push(write(Body::Increment(IncrementRequest { key: bytes("key-3"), by: 1 })));
    writes.push(write(Body::Increment(IncrementRequest { key: bytes("n"), by: 4 })));
    let doomed = names.iter().take(30).map(|name| bytes(name)).chain([bytes("absent")]);
    writes.push(write(Body::Delete(DeleteRequest { keys: doomed.collect() })));
    let results = keys.batch(BatchRequest { writes }).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 43);
    let outcomes: Vec<Outcome> = results.into_iter().map(|r| r.result.unwrap()).collect();
    assert!(outcomes[..40].iter().all(|o| matches!(o, Outcome::Set(set) if set.applied)));
    assert!(matches!(&outcomes[40], Outcome::Refused(why) if why.contains("not an integer")));
    assert!(matches!(&outcomes[41], Outcome::Increment(n) if n.value == 4));
    assert!(matches!(&outcomes[42], Outcome::Delete(d) if d.deleted == 30));

    let rest = names.iter().map(|name| bytes(name)).collect();
    let deleted = keys.delete(DeleteRequest { keys: rest }).await.unwrap().into_inner().deleted;
    assert_eq!(deleted, 10);
    door.close().await;
}

#[tokio::test]
async fn broken_limits_are_named_and_nothing_is_written() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let too_many = vec![write(Body::Set(set("k", "v"))); 10_001];
    let status = keys.batch(BatchRequest { writes: too_many }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("10001 writes in one call, at most 10000"), "{status}");

    let long = SetRequest { key: vec![b'k'; 70_000].into(), ..set("", "v") };
    let writes = vec![write(Body::Set(set("k", "v"))), write(Body::Set(long.clone()))];
    let status = keys.batch(BatchRequest { writes }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("write 1: key exceeds"), "{status}");
    assert_eq!(keys.set(long).await.unwrap_err().code(), Code::InvalidArgument);
    let status = keys.set(SetRequest { ttl_ms: Some(0), ..set("k", "v") }).await.unwrap_err();
    assert!(status.message().contains("ttl_ms is 0"), "{status}");
    let status = keys.set(SetRequest { condition: 9, ..set("k", "v") }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let large = SetRequest { value: vec![0; 2 << 20].into(), ..set("k", "") };
    assert_eq!(keys.set(large).await.unwrap_err().code(), Code::OutOfRange);
    let scan = ScanRequest { limit: 10_001, ..Default::default() };
    assert_eq!(keys.scan(scan).await.unwrap_err().code(), Code::InvalidArgument);

    assert!(!keys.get(get("k")).await.unwrap().into_inner().found);
    door.close().await;
}

#[tokio::test]
async fn scan_walks_all_partitions_in_key_order_page_by_page() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let mut expected = BTreeMap::new();
    for i in 0..500 {
        // One partition holds far more than its share.
        let key = if i % 2 == 0 { format!("{i:03}") } else { format!("{i:03}{{same}}") };
        expected.insert(bytes(&key), bytes(&format!("value-{i}")));
        keys.set(set(&key, &format!("value-{i}"))).await.unwrap();
    }
    for limit in [1_000, 100, 7] {
        let mut seen = Vec::new();
        let mut from = Bytes::new();
        loop {
            let request = ScanRequest { from, to: Bytes::new(), limit };
            let page = keys.scan(request).await.unwrap().into_inner();
            assert!(page.pairs.len() <= limit as usize);
            seen.extend(page.pairs.into_iter().map(|pair| (pair.key, pair.value)));
            let Some(next) = page.next else { break };
            from = next;
        }
        assert!(seen.into_iter().eq(expected.clone()), "with pages of {limit}");
    }
    let part = ScanRequest { from: bytes("100"), to: bytes("102"), limit: 0 };
    let page = keys.scan(part).await.unwrap().into_inner();
    let found: Vec<_> = page.pairs.iter().map(|pair| &pair.key[..]).collect();
    assert_eq!(found, [&b"100"[..], b"101{same}"]);
    assert_eq!(page.next, None);
    let backwards = ScanRequest { from: bytes("2"), to: bytes("1"), limit: 0 };
    assert!(keys.scan(backwards).await.unwrap().into_inner().pairs.is_empty());
    door.close().await;
}

#[tokio::test]
async fn errors_tell_what_happened() {
    let door = Door::open().await;
    let mut keys = door.keys();
    let partition = partition_of_key(b"k", PARTITIONS);
    let elsewhere = |key: &String| partition_of_key(key.as_bytes(), PARTITIONS) != partition;
    let other = (0..).map(|i| format!("o{i}")).find(elsewhere).unwrap();

    door.cluster.fail(partition, RequestError::TryLater("no leader".into()));
    assert_eq!(keys.set(set("k", "v")).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(keys.get(get("k")).await.unwrap_err().code(), Code::Unavailable);
    // Half a batch is done: saying "surely not done" would be a lie.
    let writes = vec![write(Body::Set(set("k", "v"))), write(Body::Set(set(&other, "v")))];
    let status = keys.batch(BatchRequest { writes }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("1 of 2 partitions did their part"), "{status}");

    door.cluster.fail(partition, RequestError::Unknown("no majority confirmed it".into()));
    assert_eq!(keys.set(set("k", "v")).await.unwrap_err().code(), Code::Unknown);

    door.cluster.close("the cluster is still forming");
    let status = keys.set(set(&other, "v")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the cluster is still forming");
    door.close().await;
}

#[tokio::test]
async fn without_the_password_only_health_answers() {
    let door = Door::open().await;
    for proof in [None, Some("guess")] {
        let channel = InterceptedService::new(door.channel.clone(), Proof(proof));
        let status = KeysClient::new(channel.clone()).get(get("k")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let status = AdminClient::new(channel.clone()).get_cluster(GetClusterRequest {}).await;
        assert_eq!(status.unwrap_err().code(), Code::Unauthenticated);
        let listing = reflect(ServerReflectionClient::new(channel)).await;
        assert_eq!(listing.unwrap_err().code(), Code::Unauthenticated);
    }
    HealthClient::new(door.channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    door.close().await;
}

async fn reflect(
    mut client: ServerReflectionClient<Proven>,
) -> Result<ServerReflectionResponse, Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let mut responses = client.server_reflection_info(requests).await?.into_inner();
    Ok(responses.message().await?.unwrap())
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let door = Door::open().await;
    let answer = reflect(ServerReflectionClient::new(door.proven())).await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["flin.v1.Keys", "flin.admin.v1.Admin", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    door.close().await;
}

#[tokio::test]
async fn administration_answers_with_the_code_that_says_what_to_do() {
    let door = Door::open().await;
    let mut admin = door.admin();
    let confirm = |id: &str| ConfirmFormedRequest { cluster_id: id.to_owned() };
    let cluster = admin.get_cluster(GetClusterRequest {}).await.unwrap().into_inner();
    assert_eq!(cluster.partitions, u32::from(PARTITIONS));
    let right = ClusterId(7).to_string();
    admin.confirm_formed(confirm(&right)).await.unwrap();
    let wrong = admin.confirm_formed(confirm(&ClusterId(8).to_string())).await.unwrap_err();
    assert_eq!(wrong.code(), Code::FailedPrecondition);
    let malformed = admin.confirm_formed(confirm("demo")).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    let later = admin.list_partitions(flin_proto::admin::ListPartitionsRequest {}).await;
    assert_eq!(later.unwrap_err().code(), Code::Unavailable);
    let step_down = admin.step_down(StepDownRequest { undo: false }).await.unwrap();
    assert_eq!(step_down.into_inner().remaining, 3);
    door.close().await;
}

#[tokio::test]
async fn membership_is_changed_within_its_ranges_and_refusals_keep_their_words() {
    let door = Door::open().await;
    let mut admin = door.admin();
    let cluster_id = ClusterId(7).to_string();
    let drain = |node_ids: &[u64]| SetDrainingRequest {
        cluster_id: cluster_id.clone(),
        node_ids: node_ids.to_vec(),
    };
    admin.set_draining(drain(&[3, 3])).await.unwrap();
    let refused = admin.set_draining(drain(&[2, 3])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "2 of 3 nodes cannot hold 3 replicas");
    assert_eq!(admin.set_draining(drain(&[0])).await.unwrap_err().code(), Code::InvalidArgument);
    let remove = RemoveMemberRequest { cluster_id: cluster_id.clone(), node_id: 3 };
    let refused = admin.remove_member(remove).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let stranger = RemoveMemberRequest { cluster_id: "demo".to_owned(), node_id: 3 };
    assert_eq!(admin.remove_member(stranger).await.unwrap_err().code(), Code::InvalidArgument);

    let configure = |replication_factor, max_moves: Option<u32>| ConfigureRequest {
        cluster_id: cluster_id.clone(),
        replication_factor,
        rebalance: max_moves.map(|max_moves| RebalanceSettings { max_moves, ..Default::default() }),
    };
    for (factor, moves) in [(2, None), (7, None), (0, Some(0)), (3, Some(65)), (300, Some(1))] {
        let status = admin.configure(configure(factor, moves)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{factor} {moves:?}");
        assert_eq!(*door.node.wished.lock().unwrap(), Wishes::default());
    }
    admin.configure(configure(5, None)).await.unwrap();
    let wished = Wishes { replication_factor: Some(5), rebalance: None };
    assert_eq!(*door.node.wished.lock().unwrap(), wished);
    admin.configure(configure(0, Some(64))).await.unwrap();
    let wished = *door.node.wished.lock().unwrap();
    assert_eq!(wished.replication_factor, None);
    assert_eq!(wished.rebalance.unwrap().max_moves, 64);
    door.close().await;
}

#[tokio::test]
async fn health_says_what_readiness_says() {
    let door = Door::open().await;
    let mut health = HealthClient::new(door.channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let status = |response: HealthCheckResponse| response.status();
    let check = health.check(of("")).await.unwrap().into_inner();
    assert_eq!(status(check), ServingStatus::Serving);
    let mut changes = health.watch(of("flin.v1.Keys")).await.unwrap().into_inner();
    assert_eq!(status(changes.message().await.unwrap().unwrap()), ServingStatus::Serving);

    *door.node.ready.lock().unwrap() = Err("catching up".into());
    assert_eq!(status(changes.message().await.unwrap().unwrap()), ServingStatus::NotServing);
    let check = health.check(of("flin.admin.v1.Admin")).await.unwrap().into_inner();
    assert_eq!(status(check), ServingStatus::Serving);
    assert_eq!(health.check(of("nonsense")).await.unwrap_err().code(), Code::NotFound);
    drop(changes);
    drop(health);
    door.close().await;
}

#[tokio::test]
async fn a_recovery_needs_nodes_and_this_cluster() {
    let door = Door::open().await;
    let mut admin = door.admin();
    let recover = |cluster: &str, lost: &[u64], accept_data_loss| RecoverRequest {
        cluster_id: cluster.to_owned(),
        lost_node_ids: lost.to_vec(),
        accept_data_loss,
    };
    for (cluster, lost) in [("demo", &[1][..]), (&ClusterId(7).to_string(), &[0])] {
        let status = admin.recover(recover(cluster, lost, true)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    for accept in [false, true] {
        let request = recover(&ClusterId(7).to_string(), &[3, 2], accept);
        let answer = admin.recover(request).await.unwrap().into_inner();
        assert_eq!((answer.alone, answer.done), (vec![2, 3], accept));
    }
}
