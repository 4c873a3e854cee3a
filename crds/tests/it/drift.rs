use std::path::Path;
use std::{env, fs};

use flin_crds::{chart_template, crd, manifest};

fn committed(path: &str) -> String {
    // At run time: a build may be shared by several checkouts.
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let path = Path::new(&package).join("..").join(path);
    fs::read_to_string(path).expect("the file is committed")
}

const REMEDY: &str = "run `cargo run -p flin-crds -- --write` in the project's root";

#[test]
fn committed_manifest_is_what_the_types_say() {
    assert!(committed("crds/flinclusters.yaml") == manifest().expect("it is YAML"), "{REMEDY}");
}

#[test]
fn committed_chart_template_is_what_the_types_say() {
    let template = chart_template().expect("it is YAML");
    assert!(committed("charts/flin/templates/crd.yaml") == template, "{REMEDY}");
    assert!(template.contains("helm.sh/resource-policy: keep"), "the metadata was not found");
}

#[test]
fn scale_subresource_names_a_string_selector() {
    let version = &crd().spec.versions[0];
    let scale = version.subresources.as_ref().and_then(|all| all.scale.as_ref()).expect("scale");
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let status = &schema.and_then(|root| root.properties.as_ref()).expect("properties")["status"];
    let selector = &status.properties.as_ref().expect("properties")["selector"];
    assert_eq!(selector.type_.as_deref(), Some("string"));
}

#[test]
fn conditions_are_a_map_by_type() {
    let json = serde_json::to_value(crd()).expect("it is JSON");
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let conditions = json.pointer(&format!("{status}/conditions")).expect("conditions");
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
}

#[test]
fn printed_columns_are_these() {
    let version = &crd().spec.versions[0];
    let columns: Vec<_> =
        version.additional_printer_columns.iter().flatten().map(|column| &*column.name).collect();
    let wide = [
        "Ready",
        "Replicas",
        "Partitions",
        "Phase",
        "Scale",
        "Version",
        "Age",
        "Message",
        "Progress",
    ];
    assert_eq!(columns, wide);
}

#[test]
fn settings_of_the_node_are_bounded_as_the_node_bounds_them() {
    let json = serde_json::to_value(crd()).expect("it is JSON");
    let config =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/config/properties";
    let bound = |field: &str, end: &str| json.pointer(&format!("{config}/{field}/{end}")).cloned();
    for (field, most) in [
        ("maxRequestBytes", 48_u64 << 20),
        ("blockCacheBytes", 1 << 40),
        ("writeBufferBytes", 64 << 30),
        ("logBudgetBytes", 1 << 40),
    ] {
        let written = bound(field, "maximum").and_then(|most| most.as_f64());
        assert_eq!(written, Some(most as f64), "{field}");
        assert!(bound(field, "minimum").is_some(), "{field}");
    }
}

#[test]
fn no_format_is_one_that_kubernetes_does_not_know() {
    let yaml = manifest().expect("it is YAML");
    for format in ["uint8", "uint16", "uint32", "uint64", "format: uint"] {
        assert!(!yaml.contains(format), "{format} makes kubectl warn");
    }
}
