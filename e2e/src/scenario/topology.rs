//! A client that routes itself, inside the cluster, against the demo cluster.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::{DEMO, DEMO_NAMESPACE, JobOptions, Kubernetes, with_namespace};
use crate::traffic::Note;

/// How many keys the clients write and read.
const KEYS: &str = "600";

pub(super) async fn run(kubernetes: &Kubernetes) -> Result<String> {
    let password = kubernetes.demo_password().await?;
    with_namespace(kubernetes, "e2e-topology", async |space| {
        space.copy_password(DEMO, &password).await?;
        let target = format!("{DEMO}.{DEMO_NAMESPACE}:6380");
        let args = ["traffic", "route", "--target", &target, "--keys", KEYS, "--prefix", "route:"];
        let options = JobOptions {
            name: "route".to_owned(),
            args: args.map(str::to_owned).into(),
            password_secret: Some(format!("{DEMO}-auth")),
            ..JobOptions::default()
        };
        let output = space.run_job(options, Duration::from_secs(90)).await?;
        let told: Vec<_> = output
            .notes
            .into_iter()
            .filter_map(|note| match note {
                Note::Routed { text } => Some(text),
                _ => None,
            })
            .collect();
        ensure!(told.len() == 3, "the client said {told:?}");
        Ok(told.join("; "))
    })
    .await
}
