//! Prints `docs/COMMANDS.md`: `cargo run -p flin-resp --example commands > docs/COMMANDS.md`.

fn main() {
    print!("{}", flin_resp::commands::markdown());
}
