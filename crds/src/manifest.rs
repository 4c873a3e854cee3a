//! The CustomResourceDefinition as files: plain, and as a template of the Helm chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::FlinCluster;

const GENERATED: &str =
    "Generated from crds/src by `cargo run -p flin-crds -- --write`. Do not edit.";
const METADATA: &str = "metadata:\n  name: flinclusters.flin.io\n";

/// The CustomResourceDefinition of [`FlinCluster`].
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    FlinCluster::crd()
}

/// The content of `crds/flinclusters.yaml`.
///
/// # Errors
/// If the definition cannot be written as YAML, which a test rules out.
pub fn manifest() -> Result<String, serde_yaml::Error> {
    Ok(format!("# {GENERATED}\n{}", serde_yaml::to_string(&crd())?))
}

/// The content of `charts/flin/templates/crd.yaml`: a template and not in the chart's `crds/`, because
/// Helm never upgrades what is there. Deleting the definition deletes every cluster, so by default it
/// outlives the release.
///
/// # Errors
/// As [`manifest`].
pub fn chart_template() -> Result<String, serde_yaml::Error> {
    let plain = serde_yaml::to_string(&crd())?;
    let metadata = format!(
        "{METADATA}  labels:\n    {{{{- include \"flin.labels\" . | nindent 4 }}}}\n  \
         {{{{- if .Values.crds.keep }}}}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{{{- end }}}}\n"
    );
    let body = plain.replacen(METADATA, &metadata, 1);
    Ok(format!(
        "{{{{- /* {GENERATED} */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{body}{{{{- end }}}}\n"
    ))
}
