//! Compiles proto/ without protoc and keeps the descriptors for reflection and JSON output.

use prost::Message as _;
use std::{env, fs, io, path::PathBuf};

/// The files with services; their imports follow.
const ROOTS: &[&str] = &[
    "csi/v1/csi.proto",
    "envoy/service/secret/v3/sds.proto",
    "envoy/extensions/transport_sockets/tls/v3/secret.proto",
    "finial/agent/debug/v1/doctor.proto",
    "finial/agent/v1/watch.proto",
    "pluginregistration/v1/api.proto",
    "spire/api/agent/debug/v1/debug.proto",
    "spire/api/server/agent/v1/agent.proto",
    "spire/api/server/bundle/v1/bundle.proto",
    "spire/api/server/entry/v1/entry.proto",
    "spire/api/server/svid/v1/svid.proto",
    "workload.proto",
];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(ROOTS, ["proto"]).map_err(io::Error::other)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").build_transport(true).compile_fds(files)
}
