//! The finial binary: everything is in the library, `cli` decides what to run.

use std::process::ExitCode;

// Thousands of streams allocate and free small buffers on all cores at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    finial::cli::main()
}
