//! What the user reads after the installation.

use super::helm::Installation;

fn without_effect(notes: &str) -> Vec<&str> {
    let (_, keys) = notes.split_once("These keys have no effect:").unwrap_or_default();
    keys.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_guides_values_all_have_an_effect() {
    assert!(without_effect(&Installation::USUAL.notes()).is_empty());
}

#[test]
fn keys_without_an_effect_are_named_with_the_reason() {
    let notes = Installation { values: "upstream", ..Installation::USUAL }.notes();
    let expected = [
        "global.spire.jwtIssuer: JWT-SVIDs are not signed yet",
        "global.spire.tools.kubectl.tag: there are no helper images",
        "spiffe-csi-driver.nodeDriverRegistrar.image.tag: the driver registers itself",
        "spire-agent.rebootstrapMode: an agent goes on by itself when the CA has changed",
        "spire-server.caTLL: no such key; is it spelled right?",
        "spire-server.image.repository: one image holds everything (image)",
        "spire-server.tornjak.enabled: Tornjak is not part of finial",
        "tornjak-frontend.enabled: Tornjak is not part of finial",
    ];
    assert_eq!(without_effect(&notes), expected);
}

#[test]
fn the_template_for_istio_fits_the_cluster() {
    let notes = |kubernetes| {
        let set = &["spire-agent.kubeletAuthorization=nodesProxy"];
        Installation { kubernetes, set, ..Installation::USUAL }.notes()
    };
    assert!(notes("1.33.0").contains("Istio 1.27 and newer inject sidecars as init containers"));
    assert!(notes("1.32.0").contains("Istio injects sidecars as containers unless told otherwise"));
}

#[test]
fn what_is_less_safe_is_warned_about() {
    let warned = |set| Installation::with(set).notes().matches("WARNING").count();
    assert_eq!(warned(&[]), 0);
    for set in [
        &["spire-agent.kubeletAuthorization=nodesProxy"],
        &["spire-agent.kubeletAddress.mode=hostip"],
        &["spire-server.persistence.type=emptyDir"],
    ] {
        assert_eq!(warned(set), 1, "{set:?}");
    }
}

#[test]
fn the_way_to_remove_the_driver_names_what_was_kept() {
    let rendered = Installation::USUAL.render();
    let kept = rendered
        .objects
        .iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep");
    let notes = Installation::USUAL.notes();
    let command = notes.lines().find(|line| line.contains("kubectl delete")).unwrap();
    let mut count = 0;
    for object in kept {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let named = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap());
        assert!(command.contains(&named), "{named} is kept, and {command} leaves it");
        count += 1;
    }
    assert_eq!(count, 3);
}
