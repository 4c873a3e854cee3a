//! The Secret with the passwords.

use flin_crds::names;
use k8s_openapi::api::core::v1::Secret;

use super::{At, Error, read as read_object};
use crate::nodes::Password;
use crate::validate::ValidatedCluster;

/// What was found of the passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PasswordsFound {
    /// There is no such Secret.
    #[default]
    Missing,
    /// The Secret cannot be used.
    Unusable(Complaint),
    /// The Secret has what nodes need.
    Complete {
        /// The password of clients, the operator among them.
        client: Password,
    },
}

/// What is wrong with a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// It has no such key, or nothing under it.
    Lacks(&'static str),
    /// It is being deleted.
    Terminating,
}

impl PasswordsFound {
    /// The clients' password, when there is one.
    #[must_use]
    pub fn client_password(&self) -> Option<&Password> {
        match self {
            Self::Complete { client } => Some(client),
            Self::Missing | Self::Unusable(_) => None,
        }
    }
}

pub(super) async fn read(at: At<'_>, cluster: &ValidatedCluster) -> Result<PasswordsFound, Error> {
    let name = cluster.passwords.secret_name().to_owned();
    let secret = read_object::<Secret>(at, "Secret", name).await?;
    Ok(secret.map_or(PasswordsFound::Missing, judge))
}

fn judge(secret: Secret) -> PasswordsFound {
    if secret.metadata.deletion_timestamp.is_some() {
        return PasswordsFound::Unusable(Complaint::Terminating);
    }
    let mut data = secret.data.unwrap_or_default();
    let mut take = |key: &'static str| {
        data.remove(key)
            .and_then(|bytes| String::from_utf8(bytes.0).ok())
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .filter(|text| !text.is_empty())
            .ok_or(PasswordsFound::Unusable(Complaint::Lacks(key)))
    };
    match (take(names::SECRET_CLIENT_PASSWORD), take(names::SECRET_PEER_SECRET)) {
        (Ok(client), Ok(_)) => PasswordsFound::Complete { client: Password::new(client) },
        (Err(complaint), _) | (_, Err(complaint)) => complaint,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn secret_with_both_keys_is_complete() {
        let found = judge(secret(&[("client-password", "a\n"), ("peer-secret", "b")]));
        assert_eq!(found, PasswordsFound::Complete { client: Password::new("a".into()) });
    }

    #[test]
    fn empty_password_counts_as_lacking() {
        let found = judge(secret(&[("client-password", ""), ("peer-secret", "b")]));
        assert_eq!(found, PasswordsFound::Unusable(Complaint::Lacks("client-password")));
    }
}
