//! Compiles every .proto of the tree with protox, so that building needs no protoc, and keeps the descriptors for
//! gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: &[&str] = &[
    "etcd/kv.proto",
    "etcd/auth.proto",
    "etcd/rpc.proto",
    "etcd/lock.proto",
    "etcd/election.proto",
    "holdfast/peer.proto",
    "holdfast/chainfire.proto",
    "holdfast/flaredb.proto",
    "holdfast/iam.proto",
    "holdfast/iam_recovery.proto",
    "holdfast/iam_rotation.proto",
    "holdfast/iam_trust.proto",
    "holdfast/configsrv.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
