//! Compiles `proto/*.proto` with a compiler written in Rust, so that nobody needs `protoc`.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message;

const FILES: [&str; 3] = ["keys.proto", "admin.proto", "peer.proto"];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
