//! The Secret with the generated passwords: created once, never changed.

use flin_crds::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::validate::ValidatedCluster;

/// The randomness in each password, in bytes.
const PASSWORD_BYTES: usize = 32;

/// A Secret with new random passwords.
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn secret(cluster: &ValidatedCluster) -> Result<Secret, getrandom::Error> {
    let mut data = std::collections::BTreeMap::new();
    for key in [names::SECRET_CLIENT_PASSWORD, names::SECRET_PEER_SECRET] {
        let mut bytes = [0; PASSWORD_BYTES];
        getrandom::fill(&mut bytes)?;
        data.insert(key.to_owned(), ByteString(hex::encode(bytes).into_bytes()));
    }
    Ok(Secret {
        metadata: metadata(cluster, cluster.passwords.secret_name().to_owned()),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    })
}
