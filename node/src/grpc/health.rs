//! The standard health service: what `/readyz` says, for gRPC's own probes and balancers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Response, Status};
use tonic_health::pb;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::http::Health;

/// How often watchers are told of a change.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The services that can be asked for; the empty name is the node.
const SERVICES: [&str; 3] = ["", "flin.v1.Keys", "flin.admin.v1.Admin"];

/// `grpc.health.v1.Health` over a node's [`Health`].
pub(super) struct StandardHealth {
    health: Arc<dyn Health>,
}

impl StandardHealth {
    pub(super) fn new(health: Arc<dyn Health>) -> Self {
        StandardHealth { health }
    }
}

/// Administration is served while clients are not: it is what forms a cluster.
fn status(health: &dyn Health, service: &str) -> ServingStatus {
    match service {
        "flin.admin.v1.Admin" => ServingStatus::Serving,
        service if !SERVICES.contains(&service) => ServingStatus::ServiceUnknown,
        _ if health.ready().is_ok() => ServingStatus::Serving,
        _ => ServingStatus::NotServing,
    }
}

#[tonic::async_trait]
impl pb::health_server::Health for StandardHealth {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match status(&*self.health, &service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("no service {service:?} here")))
            }
            status => Ok(Response::new(pb::HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (health, service) = (self.health.clone(), request.into_inner().service);
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        let changes = IntervalStream::new(interval).filter_map(move |_| {
            let now = status(&*health, &service);
            let news = (last.replace(now) != Some(now))
                .then(|| Ok(pb::HealthCheckResponse { status: now.into() }));
            std::future::ready(news)
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
