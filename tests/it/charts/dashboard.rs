//! The dashboard asks for metrics that there are.

use super::helm::{Installation, charts};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

const PROGRAMS: [(&str, &str); 4] = [
    ("spire_agent_", "agent"),
    ("spire_server_", "server"),
    ("spiffe_csi_driver_", "csi"),
    ("spire_controller_manager_", "controller"),
];

/// The text of every source file of a program.
fn source(program: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(program)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                text += &fs::read_to_string(path).unwrap()
            }
        }
    }
    text
}

#[test]
fn the_dashboard_reaches_grafana_unchanged() {
    let rendered = Installation::with(&["dashboard.enabled=true"]).render();
    let map = rendered.of("ConfigMap", "dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let installed: Value =
        serde_json::from_str(map["data"]["finial.json"].as_str().unwrap()).unwrap();
    let file = fs::read_to_string(charts().join("spire/files/dashboard.json")).unwrap();
    assert_eq!(installed, serde_json::from_str::<Value>(&file).unwrap());
}

#[test]
fn every_metric_on_the_dashboard_is_registered() {
    let dashboard = fs::read_to_string(charts().join("spire/files/dashboard.json")).unwrap();
    let words: BTreeSet<&str> = dashboard
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| PROGRAMS.iter().any(|(prefix, _)| word.starts_with(prefix)))
        .collect();
    for (prefix, program) in PROGRAMS {
        assert!(words.iter().any(|word| word.starts_with(prefix)), "nothing of {program} is shown");
        let source = source(program);
        for metric in words.iter().filter_map(|word| word.strip_prefix(prefix)) {
            let name =
                ["_total", "_bucket"].iter().fold(metric, |name, end| name.trim_end_matches(end));
            let is_registered =
                [metric, name].iter().any(|name| source.contains(&format!("\"{name}\"")));
            assert!(is_registered, "{program} has no metric {metric}");
        }
    }
    assert!(words.len() > 15, "{words:?}");
}
