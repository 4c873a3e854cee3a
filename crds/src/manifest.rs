//! The CustomResourceDefinition as files: plain, and as a template of the Helm chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::FlinCluster;

const GENERATED: &str =
    "Generated from crds/src by `cargo run -p flin-crds -- --write`. Do not edit.";
const METADATA: &str = "metadata:\n  name: flinclusters.flin.io\n";

/// A rule whose message is an expression, and what is said if that cannot be evaluated.
const FALLBACK: (&str, &str) = (
    "self.replicas >= self.replicationFactor",
    "replicas must be at least replicationFactor: each partition keeps its replicas on different nodes",
);

/// The CustomResourceDefinition of [`FlinCluster`].
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = FlinCluster::crd();
    // A rule of kube has one message, words or an expression; the API server takes both.
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    let roots =
        schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()?.properties.as_mut());
    let specs = roots.filter_map(|properties| properties.get_mut("spec"));
    let rules = specs.filter_map(|spec| spec.x_kubernetes_validations.as_mut()).flatten();
    for rule in rules.filter(|rule| rule.rule == FALLBACK.0) {
        rule.message = Some(FALLBACK.1.to_owned());
    }
    crd
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
