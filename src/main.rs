//! The finial binary: everything is in the library, `cli` decides what to run.
fn main() {}
