//! Puts the operator together and runs it until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::controller::{self, Scope};
use crate::failpoint::Failpoint;
use crate::http;
use crate::leadership::{Candidate, lead};
use crate::metrics::Metrics;
use crate::nodes::RemoteNodes;
use crate::reconcile::Context;
use crate::settings::{LogFormat, Settings};
use crate::validate::Defaults;

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// If the settings make no sense, the API server cannot be reached, or the lease cannot be used.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    log(&settings)?;
    let version = env!("CARGO_PKG_VERSION");
    info!(version, node_image = %settings.node_image, "starting");

    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::default());
    let (say_ready, ready) = watch::channel(false);
    let mut side = JoinSet::new();
    side.spawn(http::serve(settings.http_address, Arc::clone(&metrics), ready, stop.clone()));

    let client = Client::try_default().await.context("find the Kubernetes API server")?;
    let server = client.apiserver_version().await.context("ask the API server for its version")?;
    info!(kubernetes = %server.git_version, "reached the API server");
    say_ready.send_replace(true);

    let result = tokio::select! {
        result = work(&settings, client, Arc::clone(&metrics), &stop) => result,
        Some(ended) = side.join_next() => ended.context("serve HTTP")?,
    };
    stop.cancel();
    while let Some(ended) = side.join_next().await {
        ended.context("serve HTTP")??;
    }
    info!("stopped");
    result
}

async fn work(
    settings: &Settings,
    client: Client,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let defaults = Defaults {
        node_image: settings.node_image.clone(),
        cluster_domain: settings.cluster_domain.clone(),
    };
    let context = Arc::new(Context::new(
        client.clone(),
        Arc::new(RemoteNodes),
        defaults,
        Arc::clone(&metrics),
        settings.pod_name.clone(),
        Failpoint::new(settings.failpoint.clone(), settings.failpoint_memory.clone()),
    ));
    let scope = Scope {
        namespace: Some(settings.watch_namespace.clone()).filter(|name| !name.is_empty()),
        concurrency: settings.concurrency,
    };
    let candidate = Candidate {
        client,
        namespace: settings.namespace.clone(),
        identity: settings.pod_name.clone(),
    };
    let controller = || controller::run(Arc::clone(&context), scope.clone());
    let told = async {
        told_to_stop().await?;
        info!("told to stop");
        stop.cancel();
        anyhow::Ok(())
    };
    let ((), ()) = tokio::try_join!(lead(candidate, &metrics, stop, controller), told)?;
    Ok(())
}

async fn told_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log)
        .with_context(|| format!("--log {:?} is no filter", settings.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
