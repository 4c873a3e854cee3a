//! The network around a cluster of our own node image: nothing made in it may leave the machine.
//!
//! Three fences: private networks that the machine has no route to are unreachable (its resolver
//! excepted), what containers send is not forwarded outward, and pods have no default route (that one
//! is in the node image's entrypoint). With kind's public node image none of this is needed or done.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::docker::docker;
use crate::shell::{is_root, run};
use crate::workspace::Workspace;

/// The networks that private machines use.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// The network of kind, by the name that kind looks for.
const NETWORK: &str = "kind";

/// Puts up the fences and makes the Docker network. Does nothing twice.
pub(crate) fn fence(workspace: &Workspace) -> Result<()> {
    if !is_root() {
        bail!(
            "a cluster of our own node image is fenced off from the network, which takes root: run this \
             as root, or set FLIN_NODE_IMAGE=public where kind's public node image can be pulled"
        );
    }
    fence_routes(workspace)?;
    fence_forwarding(workspace)?;
    make_network()
}

/// Takes away the fences that [`fence`] put up, and the network.
pub(crate) fn unfence(workspace: &Workspace) -> Result<()> {
    docker().args(["network", "rm", NETWORK]).succeeds();
    let record = record(workspace);
    let Ok(lines) = std::fs::read_to_string(&record) else { return Ok(()) };
    for line in lines.lines() {
        match line.split_once(' ') {
            Some(("route", route)) => {
                run("ip").args(["route", "delete"]).args(route.split(' ')).succeeds();
            }
            Some(("reject", device)) => {
                run("iptables")
                    .args(["-D", "DOCKER-USER", "-o", device, "-j", "REJECT"])
                    .succeeds();
            }
            _ => bail!("{} holds a line that was not written here: {line}", record.display()),
        }
    }
    std::fs::remove_file(&record).with_context(|| format!("remove {}", record.display()))
}

fn fence_routes(workspace: &Workspace) -> Result<()> {
    let gateway = run("ip").args(["-4", "route", "show", "default"]).output()?;
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if let Some(gateway) = word_after(&gateway, "via") {
        for resolver in private_resolvers(&resolvers) {
            // A resolver on a network that the machine is part of has its route already.
            let found = run("ip").args(["route", "get", &resolver.to_string()]).output()?;
            if word_after(&found, "via") == Some(gateway) {
                add_route(workspace, &format!("{resolver}/32 via {gateway}"))?;
            }
        }
    }
    PRIVATE.iter().try_for_each(|net| add_route(workspace, &format!("unreachable {net}")))
}

/// Adds a route unless there is one for exactly this destination, and remembers it.
fn add_route(workspace: &Workspace, route: &str) -> Result<()> {
    let words: Vec<&str> = route.split(' ').collect();
    let destination = if words[0] == "unreachable" { words[1] } else { words[0] };
    if !run("ip").args(["route", "show", "exact", destination]).output()?.is_empty() {
        return Ok(());
    }
    run("ip").args(["route", "add"]).args(&words).quiet()?;
    remember(workspace, &format!("route {route}"))
}

fn fence_forwarding(workspace: &Workspace) -> Result<()> {
    let route = run("ip").args(["-4", "route", "show", "default"]).output()?;
    let Some(device) = word_after(&route, "dev") else { return Ok(()) };
    let rule = ["DOCKER-USER", "-o", device, "-j", "REJECT"];
    if run("iptables").arg("-C").args(rule).succeeds() {
        return Ok(());
    }
    run("iptables").arg("-I").args(rule).quiet()?;
    remember(workspace, &format!("reject {device}"))
}

/// Docker would pick a subnet itself, but it refuses all of those that the fences cover.
fn make_network() -> Result<()> {
    if docker().args(["network", "inspect", NETWORK]).succeeds() {
        return Ok(());
    }
    let mut last = None;
    for second in 18..32 {
        let made = docker()
            .args(["network", "create", "--driver", "bridge"])
            .args(["--subnet", &format!("172.{second}.0.0/16")])
            .args(["--opt", "com.docker.network.bridge.enable_ip_masquerade=false"])
            .args(["--opt", "com.docker.network.driver.mtu=1500"])
            .arg(NETWORK)
            .quiet();
        match made {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no subnet was tried")?.context("make the Docker network of kind"))
}

fn record(workspace: &Workspace) -> PathBuf {
    workspace.cache.join("docker/fences")
}

fn remember(workspace: &Workspace, line: &str) -> Result<()> {
    let path = record(workspace);
    let mut lines = std::fs::read_to_string(&path).unwrap_or_default();
    if !lines.lines().any(|known| known == line) {
        lines.push_str(line);
        lines.push('\n');
        std::fs::write(&path, lines).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn word_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_whitespace().skip_while(|w| *w != word).nth(1)
}

/// The name servers of `resolv.conf` that live in a private network.
fn private_resolvers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<Ipv4Addr>().ok())
        .filter(Ipv4Addr::is_private)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_resolvers_need_a_route_of_their_own() {
        let conf = "# local\nnameserver 10.1.2.3\nnameserver 192.0.2.7\nnameserver fe80::1\n";
        assert_eq!(private_resolvers(conf), [Ipv4Addr::new(10, 1, 2, 3)]);
    }

    #[test]
    fn gateway_and_device_are_read() {
        let route = "default via 192.0.2.1 dev eth0 proto dhcp";
        assert_eq!(word_after(route, "via"), Some("192.0.2.1"));
        assert_eq!(word_after(route, "dev"), Some("eth0"));
        assert_eq!(word_after("", "dev"), None);
    }
}
