//! Whom a node can ask when it knows no members, or none that are left.
//!
//! The bootstrap file is not written anew as nodes come and go, so one day all first members may be gone. The join
//! address is a name that leads to those that there are: to many of them, and to this node too. That does no
//! harm: a node that is no member yet does not listen for others, so it is only refused by itself.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use crate::bootstrap::Bootstrap;
use crate::settings::Settings;
use crate::transport::connecting::look_up;

/// Whom a node asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contacts {
    /// Where the other first members listen for peers, host and port.
    first_members: Vec<String>,
    /// Host and port; each address that the host leads to is that of a node of the cluster.
    join_address: Option<String>,
}

/// Who can be asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where they listen for peers, host and port: the first members, then those that the join address leads to.
    pub(super) addresses: Vec<String>,
    /// Why the join address leads to nobody, if it does not.
    pub(super) obstacle: Option<String>,
}

impl Contacts {
    /// Those that `bootstrap` and `settings` name, without the first member that the node itself is called after.
    pub(crate) fn new(settings: &Settings, bootstrap: &Bootstrap) -> Self {
        Contacts {
            first_members: bootstrap.other_addresses(),
            join_address: settings.join_address.clone(),
        }
    }

    /// Leaves out whoever is at `address`.
    pub(super) fn without(mut self, address: &str) -> Self {
        self.first_members.retain(|member| member != address);
        self.join_address = self.join_address.filter(|join_address| join_address != address);
        self
    }

    /// Whether nobody is named at all.
    pub(super) fn is_nobody(&self) -> bool {
        self.first_members.is_empty() && self.join_address.is_none()
    }

    /// Looks up who can be asked now. A name that leads to nobody hides nobody else.
    pub(super) async fn find(&self) -> Found {
        let mut found = Found { addresses: self.first_members.clone(), obstacle: None };
        if let Some(name) = &self.join_address {
            match all_at(name).await {
                Ok(addresses) => found.add(addresses),
                Err(error) => found.obstacle = Some(format!("{name}: {error}")),
            }
        }
        found
    }
}

impl Found {
    fn add(&mut self, addresses: Vec<String>) {
        for address in addresses {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

/// Every address that a name leads to, as host and port; at least one.
///
/// # Errors
/// As those of [`look_up`].
pub(super) async fn all_at(name: &str) -> io::Result<Vec<String>> {
    Ok(in_order(look_up(name).await?))
}

/// A name service shuffles its answers, and may repeat itself; who asks one after the other wants neither.
fn in_order(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<String> {
    let addresses: BTreeSet<SocketAddr> = addresses.into_iter().collect();
    addresses.iter().map(SocketAddr::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(first_members: &[&str], join_address: Option<&str>) -> Contacts {
        Contacts {
            first_members: first_members.iter().map(|&member| member.to_owned()).collect(),
            join_address: join_address.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn first_members_come_first_and_nobody_is_named_twice() {
        let other = contacts(&["n1:6383", "127.0.0.1:7001"], Some("127.0.0.1:7002"));
        let expected = ["n1:6383", "127.0.0.1:7001", "127.0.0.1:7002"];
        assert_eq!(other.find().await.addresses, expected);
        let same = contacts(&["n1:6383", "127.0.0.1:7001"], Some("127.0.0.1:7001"));
        assert_eq!(same.find().await.addresses, expected[..2]);
    }

    #[tokio::test]
    async fn a_name_that_leads_to_nobody_hides_nobody_and_is_told() {
        // `.invalid` never resolves.
        let found = contacts(&["n1:6383"], Some("nodes.invalid:6383")).find().await;
        assert_eq!(found.addresses, ["n1:6383"]);
        let obstacle = found.obstacle.expect("it leads to nobody");
        assert!(obstacle.starts_with("nodes.invalid:6383: "), "{obstacle}");
    }

    #[test]
    fn all_that_a_name_leads_to_are_there_once_in_an_order_that_stays() {
        let shuffled = ["10.0.0.9:6383", "[fd00::7]:6383", "10.0.0.7:6383", "10.0.0.9:6383"];
        let addresses = in_order(shuffled.iter().map(|address| address.parse().unwrap()));
        assert_eq!(addresses, ["10.0.0.7:6383", "10.0.0.9:6383", "[fd00::7]:6383"]);
    }

    #[test]
    fn a_node_is_none_of_its_own_contacts() {
        let contacts = contacts(&["n1:6383", "n2:6383"], Some("nodes:6383"));
        assert_eq!(contacts.clone().without("n2:6383").first_members, ["n1:6383"]);
        let alone = contacts.without("n1:6383").without("n2:6383");
        assert!(!alone.is_nobody());
        assert!(alone.without("nodes:6383").is_nobody());
    }
}
