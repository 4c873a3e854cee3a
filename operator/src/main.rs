//! `flin-operator`: see the library's documentation.

use clap::Parser;
use flin_operator::settings::Settings;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    flin_operator::run(Settings::parse()).await
}
