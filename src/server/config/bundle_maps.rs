//! The ConfigMaps that the trust bundle is written to, `Notifier "k8sbundle"` and `BundlePublisher
//! "k8s_configmap"`: their keys in the file, and what the server runs with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Cause, Idle, Origin, Position, Problems, Section, Setting, Warning, value};

use super::default;
use super::model::{BundleForm, BundleFormat, BundleMap};

/// The data of `Notifier "k8sbundle"`.
#[derive(Debug)]
pub(super) struct RawNotified {
    own: RawNotifiedCluster,
    others: Vec<(Position, RawNotifiedCluster)>,
}

/// A cluster of `k8sbundle`.
#[derive(Debug)]
struct RawNotifiedCluster {
    namespace: Option<Setting<String>>,
    config_map: Option<Setting<String>>,
    config_map_key: Option<Setting<String>>,
    kube_config_file_path: Option<Setting<PathBuf>>,
}

/// A cluster of `k8s_configmap`.
#[derive(Debug)]
pub(super) struct RawPublished {
    id: String,
    at: Position,
    format: Option<Setting<BundleFormat>>,
    namespace: Option<Setting<String>>,
    configmap_name: Option<Setting<String>>,
    configmap_key: Option<Setting<String>>,
    kubeconfig_path: Option<Setting<PathBuf>>,
    refresh_hint: Option<Setting<Duration>>,
}

/// Kubernetes remembers under these names who wrote what. The publisher's is SPIRE's, so that either
/// server can follow the other without a conflict; SPIRE's notifier writes in a way that never has one.
const NOTIFIER: &str = "spire-notifier-k8sbundle";
const PUBLISHER: &str = "spire-bundlepublisher-k8s_configmap";

const FORMATS: &[(&str, BundleFormat)] =
    &[("spiffe", BundleFormat::Spiffe), ("jwks", BundleFormat::Jwks), ("pem", BundleFormat::Pem)];

impl RawNotified {
    /// Reads the notifier's data.
    pub(super) fn read(data: &mut Section<'_, '_>) -> Self {
        let mut others = Vec::new();
        data.sections("clusters", |at, cluster| {
            others.push((at, RawNotifiedCluster::read(cluster)));
        });
        Self { own: RawNotifiedCluster::read(data), others }
    }

    fn validate(self, problems: &mut Problems, maps: &mut Vec<BundleMap>) {
        // SPIRE 1.15: a list of others replaces the own cluster unless something is said of that one.
        if self.others.is_empty() || self.own.is_set() {
            maps.push(self.own.map());
        }
        for (at, cluster) in self.others {
            if cluster.kube_config_file_path.is_none() {
                let path = "plugins.Notifier.k8sbundle.plugin_data.clusters.kube_config_file_path";
                problems.push(path, Some(Origin::File(at)), Cause::ClusterWithoutKubeconfig);
            }
            maps.push(cluster.map());
        }
    }
}

impl RawNotifiedCluster {
    fn read(cluster: &mut Section<'_, '_>) -> Self {
        cluster.unsupported(&[("api_service_label", Idle::Unset), ("webhook_label", Idle::Unset)]);
        Self {
            namespace: cluster.text("namespace", value::string),
            config_map: cluster.text("config_map", value::string),
            config_map_key: cluster.text("config_map_key", value::string),
            kube_config_file_path: cluster.text("kube_config_file_path", value::path),
        }
    }

    const fn is_set(&self) -> bool {
        self.namespace.is_some()
            || self.config_map.is_some()
            || self.config_map_key.is_some()
            || self.kube_config_file_path.is_some()
    }

    fn map(self) -> BundleMap {
        let or = |setting: Option<Setting<String>>, default: &str| {
            setting.map_or_else(|| default.to_owned(), |setting| setting.value)
        };
        let form = BundleForm { format: BundleFormat::Pem, refresh_hint: None };
        BundleMap {
            kube_config_file: self.kube_config_file_path.map(|path| path.value),
            namespace: or(self.namespace, default::BUNDLE_NAMESPACE),
            name: or(self.config_map, default::BUNDLE_CONFIG_MAP),
            manager: NOTIFIER,
            keys: [(or(self.config_map_key, default::BUNDLE_KEY), form)].into(),
        }
    }
}

impl RawPublished {
    /// Reads every cluster of the publisher's data.
    pub(super) fn read_all(data: &mut Section<'_, '_>) -> Vec<Self> {
        let mut found = Vec::new();
        data.section("clusters", |clusters| {
            clusters.unique_sections(|name, cluster| {
                found.push(Self {
                    id: name.text.to_owned(),
                    at: name.at,
                    format: cluster.text("format", |text| value::choice(text, FORMATS)),
                    namespace: cluster.text("namespace", value::string),
                    configmap_name: cluster.text("configmap_name", value::string),
                    configmap_key: cluster.text("configmap_key", value::string),
                    kubeconfig_path: cluster.text("kubeconfig_path", value::path),
                    refresh_hint: cluster.text("refresh_hint", value::lifetime),
                });
            });
        });
        found
    }

    fn validate(self, problems: &mut Problems) -> Option<BundleMap> {
        let Self { id, at, .. } = self;
        let path = format!("plugins.BundlePublisher.k8s_configmap.plugin_data.clusters.{id}");
        let mut missing = |key: &str, what: &'static str| {
            let path = format!("{path}.{key}");
            if !problems.concern(&path) {
                let cause = Cause::MissingInCluster { what, cluster: id.clone() };
                problems.push(path, Some(Origin::File(at)), cause);
            }
        };
        if self.format.is_none() {
            missing("format", "bundle format");
        }
        for (setting, key, what) in [
            (&self.namespace, "namespace", "namespace"),
            (&self.configmap_name, "configmap_name", "configmap name"),
            (&self.configmap_key, "configmap_key", "configmap key"),
        ] {
            if setting.is_none() {
                missing(key, what);
            }
        }
        let refresh_hint = self.refresh_hint.map(|hint| hint.value);
        let form = BundleForm { format: self.format?.value, refresh_hint };
        Some(BundleMap {
            kube_config_file: self.kubeconfig_path.map(|path| path.value),
            namespace: self.namespace?.value,
            name: self.configmap_name?.value,
            manager: PUBLISHER,
            keys: [(self.configmap_key?.value, form)].into(),
        })
    }
}

/// The ConfigMaps, each once: what one writer applies to a map it must apply at once, or the second key
/// would take the first away.
pub(super) fn validate(
    notified: Vec<RawNotified>,
    published: Vec<Vec<RawPublished>>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Vec<BundleMap> {
    let mut maps = Vec::new();
    for notifier in notified {
        notifier.validate(problems, &mut maps);
    }
    for clusters in published {
        if clusters.is_empty() {
            warnings.push(Warning::BundleNotPublished);
        }
        maps.extend(clusters.into_iter().filter_map(|cluster| cluster.validate(problems)));
    }
    merged(maps, problems)
}

/// The maps with all keys that one writer gives them, and no key in two forms.
fn merged(maps: Vec<BundleMap>, problems: &mut Problems) -> Vec<BundleMap> {
    let mut forms = BTreeMap::new();
    let mut merged: Vec<BundleMap> = Vec::new();
    for map in maps {
        let place = (map.kube_config_file.clone(), map.namespace.clone(), map.name.clone());
        for (key, form) in &map.keys {
            let first = *forms.entry((place.clone(), key.clone())).or_insert(*form);
            if first != *form {
                let cause = Cause::BundleInTwoForms { map: map.to_string(), key: key.clone() };
                problems.push("plugins", None, cause);
            }
        }
        let known = merged.iter_mut().find(|known| {
            known.manager == map.manager
                && (&known.kube_config_file, &known.namespace, &known.name)
                    == (&map.kube_config_file, &map.namespace, &map.name)
        });
        match known {
            Some(known) => known.keys.extend(map.keys),
            None => merged.push(map),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
