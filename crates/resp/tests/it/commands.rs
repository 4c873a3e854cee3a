use flin_resp::commands;

#[test]
fn the_generated_page_is_committed() {
    // At run time: a build may be shared by several checkouts.
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let path = format!("{package}/../../docs/COMMANDS.md");
    let committed = std::fs::read_to_string(path).expect("docs/COMMANDS.md is committed");
    assert!(
        committed == commands::markdown(),
        "docs/COMMANDS.md is stale: cargo run -p flin-resp --example commands > docs/COMMANDS.md"
    );
}
