use flin_crds::Phase;

use crate::api::Fault;
use crate::world::{SECRET, World};

/// More writes than bringing up a cluster takes.
const WRITES_MAX: usize = 16;

/// Brings up a cluster while one write fails and the operator is killed for it. Whatever write that is,
/// there is one birth and one set of passwords, and the cluster comes up.
async fn survives(fault: Fault) {
    let mut world = World::new();
    world.api.fail(Some(fault));
    let (mut ids, mut secrets) = (Vec::new(), Vec::new());
    for pass in 0..12 {
        if world.pass().await.is_err() {
            world.restart_operator();
        }
        ids.extend(world.demo().status.and_then(|status| status.bootstrap).map(|b| b.cluster_id));
        secrets.extend(world.api.get(SECRET).map(|secret| secret["data"].clone()));
        if pass >= 2 && world.api.get(crate::world::STATEFULSET).is_some() {
            world.start_pods();
            if world.nodes.report.lock().expect("not poisoned").is_none() {
                world.answer();
            }
        }
    }
    ids.dedup();
    secrets.dedup();
    assert_eq!((ids.len(), secrets.len()), (1, 1), "{fault:?}");
    assert_eq!(world.status().phase, Some(Phase::Running), "{fault:?}");
    assert_eq!(world.announced(), "Formed", "{fault:?}");
    assert!(!world.nodes.confirmed.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn operator_killed_at_any_write_brings_up_one_cluster() {
    for after_writes in 0..WRITES_MAX {
        for takes_effect in [false, true] {
            survives(Fault { after_writes, takes_effect }).await;
        }
    }
}

#[tokio::test]
async fn operator_with_an_old_view_gives_no_second_birth() {
    let world = World::new();
    let old_view = world.demo();
    world.passes(1).await;
    let id = world.cluster_id();
    world.api.writes();
    world.pass_over(old_view).await.expect_err("the view is old");
    assert_eq!(world.cluster_id(), id);
}
