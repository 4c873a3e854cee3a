//! The machine and the versions: figures without them mean nothing.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};

use crate::harness::Kubernetes;

/// What a figure depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The day, in UTC.
    pub(crate) date: String,
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) kubernetes: String,
    /// The machines of the Kubernetes cluster, all of them containers on this one.
    pub(crate) machines: usize,
    pub(crate) flin: String,
    /// The peer's image, when there is one.
    pub(crate) etcd: Option<String>,
}

/// Reads them.
///
/// # Errors
/// When this machine or the cluster does not say.
pub(super) async fn read(kubernetes: &Kubernetes, etcd: Option<String>) -> Result<Facts> {
    let machines: Api<Node> = Api::all(kubernetes.client.clone());
    let machines = machines.list(&ListParams::default()).await?.items.len();
    let version = kubernetes.client.apiserver_version().await?;
    Ok(Facts {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: field(&file("/proc/cpuinfo")?, "model name"),
        memory_gib: memory_gib(&file("/proc/meminfo")?),
        kernel: file("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        kubernetes: version.git_version,
        machines,
        flin: env!("CARGO_PKG_VERSION").to_owned(),
        etcd,
    })
}

impl Facts {
    /// All of them in one sentence.
    pub(super) fn words(&self) -> String {
        let etcd = self.etcd.as_ref().map(|image| format!(", {image}")).unwrap_or_default();
        format!(
            "{}: {} cores of {}, {} GiB of memory, Linux {}, Kubernetes {} on {} kind machines, Flin {}{etcd}",
            self.date,
            self.cores,
            self.cpu,
            self.memory_gib,
            self.kernel,
            self.kubernetes,
            self.machines,
            self.flin,
        )
    }
}

fn file(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
    value.unwrap_or("an unnamed processor").to_owned()
}

fn memory_gib(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal");
    let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or(0);
    (kib + 512 * 1024) / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_kernels_words() {
        assert_eq!(memory_gib("MemTotal:       24616112 kB\nMemFree: 1 kB\n"), 23);
        assert_eq!(
            field("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n", "model name"),
            "A CPU @ 2 GHz"
        );
        assert_eq!(field("", "model name"), "an unnamed processor");
    }
}
