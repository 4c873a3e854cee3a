use flin_resp::commands;

#[test]
fn the_generated_page_is_committed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/COMMANDS.md");
    let committed = std::fs::read_to_string(path).expect("docs/COMMANDS.md is committed");
    assert!(
        committed == commands::markdown(),
        "docs/COMMANDS.md is stale: cargo run -p flin-resp --example commands > docs/COMMANDS.md"
    );
}
