//! The cluster on one machine, with a shell script in place of the node and an administration of our own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flin_proto::admin::{Cluster, ListPartitionsResponse, Node, Partition, RecoverResponse};
use flin_state::ids::{ClusterId, NodeId};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::bootstrap::{Phase, read_genesis};
use crate::grpc::admin::{AdminError, AdminService, Administration, Wishes};

fn options(dir: &TempDir, nodes: u16, base_port: u16) -> DevOptions {
    let data = dir.path().join("data");
    DevOptions { nodes, data, base_port, partitions: Some(2), server_flags: Vec::new() }
}

fn script(dir: &TempDir, body: &str) -> PathBuf {
    let path = dir.path().join("node");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A node's administration whose partitions all have a leader.
#[derive(Default)]
struct Led {
    confirmed: AtomicBool,
}

impl Administration for Led {
    async fn get_cluster(&self) -> Result<Cluster, AdminError> {
        Err(AdminError::TryLater("not asked for".into()))
    }

    async fn list_partitions(&self) -> Result<ListPartitionsResponse, AdminError> {
        let partition = |partition| Partition { partition, leader: 1, ..Default::default() };
        Ok(ListPartitionsResponse { partitions: (0..2).map(partition).collect() })
    }

    async fn get_node(&self) -> Result<Node, AdminError> {
        let ready = self.confirmed.load(Ordering::SeqCst);
        Ok(Node { ready, not_ready_reason: "not formed".into(), ..Default::default() })
    }

    async fn confirm_formed(&self, _: ClusterId) -> Result<(), AdminError> {
        self.confirmed.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn step_down(&self, _: bool) -> Result<u32, AdminError> {
        Ok(0)
    }

    async fn set_draining(&self, _: ClusterId, _: BTreeSet<NodeId>) -> Result<(), AdminError> {
        Err(AdminError::Refused("nothing moves here".into()))
    }

    async fn remove_member(&self, _: ClusterId, _: NodeId) -> Result<(), AdminError> {
        Err(AdminError::Refused("nothing moves here".into()))
    }

    async fn configure(&self, _: ClusterId, _: Wishes) -> Result<(), AdminError> {
        Err(AdminError::Refused("nothing moves here".into()))
    }

    async fn recover(
        &self,
        _: ClusterId,
        _: BTreeSet<NodeId>,
        _: bool,
    ) -> Result<RecoverResponse, AdminError> {
        Err(AdminError::Refused("nothing is lost here".into()))
    }
}

/// Serves `led` on a free port; the answer is the base port whose gRPC port that is.
async fn serve(led: Arc<Led>, stop: CancellationToken) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let admin = flin_proto::admin::admin_server::AdminServer::new(AdminService::new(led));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(admin)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned()),
    );
    port - 1
}

fn phase(data: &Path) -> Phase {
    read_genesis(&data.join("cluster.json")).unwrap().1
}

#[tokio::test]
async fn cluster_is_formed_once_every_partition_is_led_and_stops_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let end = CancellationToken::new();
    let led = Arc::new(Led::default());
    let base_port = serve(led.clone(), end.clone()).await;
    let options = options(&dir, 1, base_port);
    // A shell runs its traps only between commands, so the command it runs must end with it.
    let program =
        script(&dir, "echo \"$@\"; trap 'echo told; kill $!; exit 0' TERM; sleep 1000 & wait");
    let (stop, stopped) = mpsc::channel(2);

    let running = conduct(program, &options, stopped);
    tokio::pin!(running);
    let formed = async {
        while !options.data.join("cluster.json").exists() || phase(&options.data) != Phase::Formed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ended = &mut running => panic!("ended early: {ended:?}"),
        () = formed => {}
    }
    assert!(led.confirmed.load(Ordering::SeqCst));
    stop.send(()).await.unwrap();
    running.await.unwrap();
    let log = fs::read_to_string(options.data.join("node-0.log")).unwrap();
    assert!(log.starts_with("server --end-with-parent --node-name=node-0 "), "{log}");
    assert!(log.ends_with("told\n"), "{log}");
    end.cancel();
}

#[tokio::test]
async fn node_that_dies_while_starting_ends_it_all_and_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(&dir, "echo the disk is full; exit 3");
    let (_stop, stopped) = mpsc::channel(2);
    let error = conduct(program, &options(&dir, 3, 1), stopped).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("ended by itself (exit status: 3)"), "{text}");
    assert!(text.ends_with("the disk is full"), "{text}");
}

#[test]
fn nodes_have_ports_and_directories_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir, 3, 6380);
    options.server_flags = vec!["--log-level=debug".into()];
    let plan = Plan::make(&options).unwrap();
    assert_eq!(plan.genesis.replication_factor, 3);
    let peers: Vec<_> = plan.genesis.members.iter().map(|m| m.peer_address.as_str()).collect();
    assert_eq!(peers, ["127.0.0.1:6383", "127.0.0.1:6393", "127.0.0.1:6403"]);
    let arguments = plan.arguments(&plan.nodes[2]);
    assert!(arguments.contains(&"--resp-address=127.0.0.1:6400".to_owned()));
    assert!(arguments.iter().any(|a| a.starts_with("--data-dir=") && a.ends_with("/node-2")));
    assert_eq!(arguments.last().unwrap(), "--log-level=debug");
}

#[test]
fn second_start_finds_its_cluster_and_refuses_another_shape_or_a_double() {
    let dir = tempfile::tempdir().unwrap();
    let first = Plan::make(&options(&dir, 3, 6380)).unwrap();
    first.write_bootstrap(Phase::Formed).unwrap();
    let (genesis, data) = (first.genesis.clone(), first.data.clone());
    let error = Plan::make(&options(&dir, 3, 6380)).unwrap_err();
    assert!(matches!(error, DevError::InUse { .. }), "{error}");
    drop(first);

    let again = Plan::make(&options(&dir, 3, 6380)).unwrap();
    assert_eq!(again.genesis, genesis);
    assert_eq!(again.phase, Phase::Formed);
    drop(again);
    let error = Plan::make(&options(&dir, 1, 6380)).unwrap_err();
    assert!(error.to_string().contains("(3 nodes, 2 partitions, replication factor 3"), "{error}");
    assert!(Plan::make(&options(&dir, 3, 7000)).is_err());
    assert_eq!(phase(&data), Phase::Formed);
}

#[test]
fn ports_beyond_the_last_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Plan::make(&options(&dir, 3, 65_530)).unwrap_err();
    assert!(matches!(error, DevError::Ports { last: 65_554, .. }), "{error}");
    assert!(!dir.path().join("data").exists());
}
