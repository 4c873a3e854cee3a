//! Small disks: a file system in the memory of each worker, and one volume on each for a cluster that asks for
//! volumes of that class.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::condition::{Seen, await_condition};
use super::kubernetes::Kubernetes;
use super::machine::Machine;

/// How long a volume may take to go away.
const REMOVAL: Duration = Duration::from_secs(60);

/// One small disk on each worker.
pub(crate) struct SmallDisks {
    kubernetes: Kubernetes,
    class: &'static str,
    machines: Vec<Machine>,
}

impl SmallDisks {
    /// Makes the disks, and the volumes of class `class` on them. What an earlier run left is removed first.
    ///
    /// # Errors
    /// When a machine or the API server refuses.
    pub(crate) async fn make(
        kubernetes: &Kubernetes,
        class: &'static str,
        mebibytes: u32,
    ) -> Result<Self> {
        let machines = Machine::workers(kubernetes).await?;
        let disks = Self { kubernetes: kubernetes.clone(), class, machines };
        disks.remove().await.context("remove what an earlier run left")?;
        let path = disks.path();
        let script = format!(
            "mkdir -p {path}; mount -t tmpfs -o size={mebibytes}m {class} {path}; mkdir {path}/volume"
        );
        try_join_all(disks.machines.iter().map(|machine| machine.run(&script))).await?;
        for machine in &disks.machines {
            disks.offer(&machine.name).await?;
        }
        Ok(disks)
    }

    /// Fills every disk until so much is free.
    ///
    /// # Errors
    /// When a machine refuses, or less was free.
    pub(crate) async fn fill(&self, mebibytes_left: u32) -> Result<()> {
        let path = self.path();
        let script = format!(
            "free=$(df --output=avail --block-size=1K {path} | tail -n 1); \
             fallocate --length $((free - {mebibytes_left} * 1024))K {path}/ballast"
        );
        try_join_all(self.machines.iter().map(|machine| machine.run(&script))).await?;
        Ok(())
    }

    /// Removes the volumes and the disks. A pod that still uses one keeps it to its end.
    ///
    /// # Errors
    /// When a machine or the API server refuses, or a volume stays.
    pub(crate) async fn remove(&self) -> Result<()> {
        let volumes = self.volumes();
        let path = self.path();
        let script =
            format!("if mountpoint -q {path}; then umount --lazy {path}; rmdir {path}; fi");
        for machine in &self.machines {
            let name = self.volume_name(&machine.name);
            match volumes.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error).with_context(|| format!("remove {name}")),
            }
            machine.run(&script).await?;
        }
        Ok(())
    }

    /// Offers the disk of a machine as a volume.
    async fn offer(&self, machine: &str) -> Result<()> {
        let volumes = self.volumes();
        let name = self.volume_name(machine);
        let what = format!("volume {name} of an earlier run is gone");
        await_condition(&what, REMOVAL, async || {
            let left = volumes.get_metadata_opt(&name).await?;
            Ok(Seen::when(left.is_none(), "it is still being removed"))
        })
        .await?;
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [machine]});
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "storageClassName": self.class,
                // What a cluster asks for at least, whatever the disk has.
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": format!("{}/volume", self.path())},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }))?;
        let made = volumes.create(&PostParams::default(), &volume).await;
        made.map(drop).with_context(|| format!("make volume {name}"))
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.kubernetes.client.clone())
    }

    fn volume_name(&self, machine: &str) -> String {
        format!("{}-{machine}", self.class)
    }

    fn path(&self) -> String {
        format!("/mnt/{}", self.class)
    }
}
