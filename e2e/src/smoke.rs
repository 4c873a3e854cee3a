//! One key, written and read from outside through every protocol: what `cargo xtask up` ends with.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use flin_proto::keys::keys_client::KeysClient;
use flin_proto::keys::{GetRequest, SetRequest};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::harness::{DEMO_GRPC, DEMO_RESP, Kubernetes, Seen, await_condition};

/// How long the doors may stay closed after the cluster said that it is available: kube-proxy learns about
/// a new Service with a delay.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// Options of `smoke`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The clients' password; by default that of the demo cluster, from its Secret.
    #[arg(long, env = "FLIN_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

/// Writes and reads.
///
/// # Errors
/// When that does not work in half a minute, with what was seen.
pub(crate) async fn run(
    kubernetes: impl Future<Output = Result<Kubernetes>>,
    options: Options,
) -> Result<()> {
    let password = match options.password {
        Some(password) => password,
        None => kubernetes.await?.demo_password().await?,
    };
    let what = format!("a key can be written and read at {DEMO_RESP}");
    await_condition(&what, PATIENCE, async || redis_client(&password).await.map(Seen::Yes)).await?;
    println!("a Redis client wrote and read a key at {DEMO_RESP}");
    let what = format!("a key can be written and read at {DEMO_GRPC}");
    await_condition(&what, PATIENCE, async || grpc_client(&password).await.map(Seen::Yes)).await?;
    println!("a gRPC client wrote and read a key at {DEMO_GRPC}");
    Ok(())
}

/// Connects a Redis client to the demo cluster from outside.
///
/// # Errors
/// When the connection or the password is refused.
pub(crate) async fn connect(password: &str) -> Result<MultiplexedConnection> {
    let (host, port) = DEMO_RESP.split_once(':').context("the address has a port")?;
    let address = redis::ConnectionAddr::Tcp(host.to_owned(), port.parse()?);
    let settings = redis::RedisConnectionInfo::default().set_password(password);
    let info =
        redis::IntoConnectionInfo::into_connection_info(address)?.set_redis_settings(settings);
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(REQUEST))
        .set_response_timeout(Some(REQUEST));
    let client = redis::Client::open(info)?;
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

async fn redis_client(password: &str) -> Result<()> {
    let mut connection = connect(password).await?;
    let () = connection.set("smoke", "by a Redis client").await?;
    let seen: Option<String> = connection.get("smoke").await?;
    ensure!(seen.as_deref() == Some("by a Redis client"), "the key holds {seen:?}");
    let removed: u64 = connection.del("smoke").await?;
    ensure!(removed == 1, "{removed} keys were removed, not 1");
    Ok(())
}

async fn grpc_client(password: &str) -> Result<()> {
    let endpoint = tonic::transport::Endpoint::from_static(DEMO_GRPC);
    let channel = endpoint.connect_timeout(REQUEST).timeout(REQUEST).connect().await?;
    let bearer: tonic::metadata::MetadataValue<_> = format!("Bearer {password}").parse()?;
    let mut client =
        KeysClient::with_interceptor(channel, move |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        });
    let (key, value) = (b"smoke:grpc".to_vec(), b"by a gRPC client".to_vec());
    let set = SetRequest { key: key.into(), value: value.clone().into(), ..Default::default() };
    client.set(set).await?;
    let found = client.get(GetRequest { key: b"smoke:grpc".to_vec().into() }).await?.into_inner();
    ensure!(found.found && found.value == value, "the key holds {:?}", found.value);
    Ok(())
}
