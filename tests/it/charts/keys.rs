//! The list of keys that have an effect, their defaults and their types agree.

use super::helm::{Installation, charts, parsed};
use serde_json::Value;
use std::{collections::BTreeSet, fs};

fn text(name: &str) -> String {
    fs::read_to_string(charts().join("spire").join(name)).unwrap()
}

/// The paths below which a key is read by the chart or is the user's own.
fn listed() -> BTreeSet<String> {
    text("files/keys.txt").lines().map(str::to_owned).collect()
}

fn at<'v>(values: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(values, |value, key| value.get(key))
}

/// Every path of `value` down to what is no map or an empty one.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        None => found.push(path.to_owned()),
        Some(map) => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(inner, &path, found);
            }
        }
    }
}

#[test]
fn every_default_is_of_a_listed_key_and_every_listed_key_has_a_default() {
    let values = parsed(&text("values.yaml")).remove(0);
    let listed = listed();
    let mut defaults = Vec::new();
    leaves(&values, "", &mut defaults);
    for path in &defaults {
        let prefixes = path.match_indices('.').map(|(end, _)| &path[..end]).chain([path.as_str()]);
        let count = prefixes.filter(|prefix| listed.contains(*prefix)).count();
        assert_eq!(count, 1, "{path} is listed {count} times in files/keys.txt");
    }
    for path in &listed {
        assert!(at(&values, path).is_some(), "{path} is in files/keys.txt and not in values.yaml");
    }
}

#[test]
fn every_listed_key_has_a_type() {
    let schema: Value = serde_json::from_str(&text("values.schema.json")).unwrap();
    for path in listed() {
        let typed = path.split('.').try_fold(&schema, |schema, key| schema["properties"].get(key));
        let typed = typed.unwrap_or_else(|| panic!("{path} is not in values.schema.json"));
        let is_open = path.ends_with("storageClass");
        assert!(typed.get("type").is_some() || typed.get("enum").is_some() || is_open, "{path}");
    }
}

/// A key that templates do not read is a promise that is not kept.
#[test]
fn every_listed_key_is_read_by_a_template() {
    let mut templates = String::new();
    let folder = charts().join("spire/templates");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                templates += &fs::read_to_string(path).unwrap()
            }
        }
    }
    for path in listed() {
        let key = path.rsplit('.').next().unwrap();
        let is_whole = |start: usize| {
            let (before, from) = templates.split_at(start);
            before.ends_with(['.', '"'])
                && !from[key.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        };
        let is_read = templates.match_indices(key).any(|(start, _)| is_whole(start));
        assert!(is_read, "no template reads {path}");
    }
}

#[test]
fn the_version_is_that_of_the_program() {
    for chart in ["spire", "spire-crds"] {
        let text = fs::read_to_string(charts().join(chart).join("Chart.yaml")).unwrap();
        let version = parsed(&text).remove(0)["appVersion"].clone();
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "{chart}");
    }
    let rendered = Installation::USUAL.render();
    let image = format!("image: ghcr.io/finial/finial:{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(rendered.text.matches(&image).count(), rendered.text.matches("image: ").count());
}
