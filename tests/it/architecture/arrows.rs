//! The arrow table: which top-level module may name which.

use super::tree::{File, Mention, Target, Tree};
use super::{Rule, Violation};

/// Everything below the programs.
const BELOW: &[&str] =
    &["runtime", "x509", "spiffe", "config", "telemetry", "wire", "transport", "k8s"];

/// The programs, which never name each other.
const PROGRAMS: &[&str] = &["agent", "server", "csi", "controller"];

/// Each layer with what it may name, lowest first.
const ARROWS: &[(&str, &[&str])] = &[
    ("runtime", &[]),
    ("x509", &[]),
    ("spiffe", &["x509"]),
    ("config", &["spiffe"]),
    ("telemetry", &["runtime", "config"]),
    ("wire", &["x509", "spiffe"]),
    ("transport", &["runtime", "telemetry", "x509", "spiffe", "config"]),
    ("k8s", &["runtime", "telemetry", "config"]),
    ("agent", BELOW),
    ("server", BELOW),
    ("csi", BELOW),
    ("controller", BELOW),
    // Of the programs only what `is_public_entry` lets through.
    ("dev", BELOW),
    ("doctor", BELOW),
];

/// What `cli` may name besides all of the above.
const ABOVE: &[&str] = &["dev", "doctor"];

/// Modules of a program that others may start it by, besides what its `mod.rs` re-exports.
const ENTRIES: &[&str] = &["start", "config"];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|f| !matches!(f.layer(), "lib" | "testing")) {
        if !is_known(file.layer()) {
            found.push(Violation {
                rule: Rule::Arrow,
                file: file.name.clone(),
                line: 1,
                text: format!(
                    "`{}` is in no layer: add it to the table in ARCHITECTURE.md and in \
                     tests/it/architecture/arrows.rs, or put the file into a layer",
                    file.layer()
                ),
            });
            continue;
        }
        found.extend(file.mentions.iter().filter_map(|mention| refuse(tree, file, mention)));
    }
    found
}

fn is_known(layer: &str) -> bool {
    matches!(layer, "cli" | "main") || ARROWS.iter().any(|(name, _)| *name == layer)
}

fn refuse(tree: &Tree, file: &File, mention: &Mention) -> Option<Violation> {
    let Target::Inside { written, resolved, module } = &mention.target else { return None };
    let from = file.layer();
    // A re-export must not hide an arrow, so both ends of it are looked at.
    let to = [resolved.first(), written.first()]
        .into_iter()
        .flatten()
        .find(|to| *to != from && !may_name(from, to) && is_a_layer(tree, to))?;
    let is_start_or_config = module.len() > 1 && ENTRIES.contains(&module[1].as_str());
    let is_public_entry = matches!(from, "dev" | "doctor")
        && PROGRAMS.contains(&to.as_str())
        && (written.len() == 1
            || is_start_or_config
            || tree.is_exported(&written[..1], &written[1]));
    if is_public_entry {
        return None;
    }
    Some(Violation {
        rule: Rule::Arrow,
        file: file.name.clone(),
        line: mention.line,
        text: format!("`{from}` names `crate::{}`: {}", written.join("::"), advice(from, to)),
    })
}

fn is_a_layer(tree: &Tree, name: &str) -> bool {
    tree.files.iter().any(|f| f.module.first().is_some_and(|first| first == name))
}

fn may_name(from: &str, to: &str) -> bool {
    match from {
        "main" => to == "cli",
        "cli" => BELOW.contains(&to) || PROGRAMS.contains(&to) || ABOVE.contains(&to),
        _ => ARROWS.iter().any(|(name, allowed)| *name == from && allowed.contains(&to)),
    }
}

fn advice(from: &str, to: &str) -> String {
    match (from, to) {
        (_, "testing") => "only tests and benches may use `testing`".into(),
        ("main", _) => "main.rs calls `cli` only".into(),
        (_, "cli") => "`cli` is above everything: pass the value in instead".into(),
        ("dev" | "doctor", to) if PROGRAMS.contains(&to) => format!(
            "use the public entry of `{to}` (what {to}/mod.rs re-exports, {to}::start, {to}::config)"
        ),
        (from, to) if PROGRAMS.contains(&from) && PROGRAMS.contains(&to) => {
            "programs are siblings: move what both need into a layer below them".into()
        }
        _ => {
            let allowed = ARROWS.iter().find(|(name, _)| *name == from).map_or(&[][..], |a| a.1);
            let allowed = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
            format!("`{from}` may name {allowed}; the type belongs one layer lower")
        }
    }
}
