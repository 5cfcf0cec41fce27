//! What charts/README.md tells to type.

use super::helm::{Installation, charts, list, parsed};
use std::fs;

fn readme() -> String {
    fs::read_to_string(charts().join("README.md")).unwrap()
}

#[test]
fn every_setting_that_the_guide_names_is_a_key() {
    let keys = fs::read_to_string(charts().join("spire/files/keys.txt")).unwrap();
    let readme = readme();
    let is_of_a_path = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let paths = readme.split(|c| !is_of_a_path(c)).filter(|word| {
        ["global.", "spire-server.", "spire-agent.", "spiffe-csi-driver.", "image.", "dashboard."]
            .iter()
            .any(|root| word.starts_with(root))
    });
    let mut count = 0;
    for path in paths.map(|path| path.trim_end_matches('.')) {
        let is_known = keys.lines().any(|key| {
            let is_below = |longer: &str, shorter: &str| {
                longer
                    .strip_prefix(shorter)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            is_below(key, path) || is_below(path, key)
        });
        assert!(is_known, "{path} is in charts/README.md and not in files/keys.txt");
        count += 1;
    }
    assert!(count > 10, "only {count} settings were found");
}

/// The text between the fence that follows `mark` and the next one.
fn block<'t>(text: &'t str, mark: &str) -> &'t str {
    let (_, after) = text.split_once(mark).unwrap();
    after.split_once("```").unwrap().0
}

#[test]
fn the_guides_own_values_are_those_that_are_tested() {
    let readme = readme();
    let values = parsed(block(&readme, "# spire-values.yaml\n")).remove(0);
    let tested = parsed(&fs::read_to_string(Installation::USUAL.values_file()).unwrap()).remove(0);
    let classless = |values: &serde_json::Value| {
        values["spire-server"]["controllerManager"]["watchClassless"].clone()
    };
    assert_eq!(values["global"]["spire"]["trustDomain"], tested["global"]["spire"]["trustDomain"]);
    assert_eq!(classless(&values), classless(&tested));
}

#[test]
fn the_guides_identity_has_fields_that_the_definition_has() {
    let readme = readme();
    let text = block(&readme, "kubectl apply -f - <<EOF\n").split_once("EOF\n").unwrap().0;
    let identity = parsed(text).remove(0);
    let definition =
        fs::read_to_string(charts().join("spire-crds/templates/clusterspiffeids.yaml"));
    let definition = parsed(&definition.unwrap()).remove(0);
    let versions = list(&definition["spec"]["versions"]).next().unwrap();
    let spec = &versions["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    for field in identity["spec"].as_object().unwrap().keys() {
        assert!(spec[field].is_object(), "{field}");
    }
}
