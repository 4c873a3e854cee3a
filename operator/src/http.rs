//! /healthz, /readyz and /metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Serves until `stop`. The operator is ready once it reached the API server, whether it leads or waits.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    axum::serve(listener, router(metrics, ready))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serve HTTP")
}

fn router(metrics: Arc<Metrics>, ready: watch::Receiver<bool>) -> Router {
    let readiness = move || {
        let is_ready = *ready.borrow();
        async move {
            if is_ready {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the API server was not reached yet\n")
            }
        }
    };
    let exposition = move || {
        let text = metrics.text();
        async move {
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, form)], text)
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(exposition))
}
