//! SPECIFICATION.md names a proof for each promise: every test and module that it names is there.

use std::{fs, path::Path};

/// What stands between backticks and looks like a path: `module::name`, or a module alone if it is one.
fn named(text: &str) -> Vec<Vec<&str>> {
    let spans = text.split('`').skip(1).step_by(2);
    let is_path = |span: &&str| {
        let mut segments = span.split("::");
        span.contains("::") && segments.all(|s| !s.is_empty() && s.chars().all(is_of_a_name))
    };
    spans.filter(is_path).map(|span| span.split("::").collect()).collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// Whether a module of the tests or of the source has this path, or its last segment as a function.
fn exists(segments: &[&str]) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((last, parents)) = segments.split_last() else { return false };
    ["tests/it", "tests/e2e", "src"].iter().any(|tree| {
        let module: std::path::PathBuf = [&[*tree], parents].concat().iter().collect();
        let module = root.join(module);
        let file = |path: &Path| fs::read_to_string(path.with_extension("rs")).unwrap_or_default();
        module.join(last).is_dir()
            || module.join(last).with_extension("rs").is_file()
            || file(&module).contains(&format!("fn {last}("))
    })
}

#[test]
fn every_proof_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SPECIFICATION.md")).unwrap();
    let named = named(&text);
    assert!(named.len() > 50, "the names are still recognised");
    let missing: Vec<_> = named.iter().filter(|segments| !exists(segments)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!exists(&["sds_stream", "no_such_fact"]) && !exists(&["no_such_module", "fact"]));
}
