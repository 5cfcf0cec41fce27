//! The clusters of `NodeAttestor "k8s_psat"`: their keys in the file, and what the server runs with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{Cause, Origin, Position, Problems, Section, Setting, Warning, value};
use crate::spiffe::SpiffeId;

use super::default;
use super::model::{AgentIdFrom, PsatCluster};

/// One cluster, as the file names it.
#[derive(Debug)]
pub(super) struct RawCluster {
    name: String,
    at: Position,
    service_account_allow_list: Option<Setting<Vec<String>>>,
    audience: Option<Setting<Vec<String>>>,
    kube_config_file: Option<Setting<PathBuf>>,
    allowed_node_label_keys: Option<Setting<Vec<String>>>,
    allowed_pod_label_keys: Option<Setting<Vec<String>>>,
    use_pod_uid_for_agent_id: Option<Setting<bool>>,
}

impl RawCluster {
    /// Reads every cluster of the attestor's data.
    pub(super) fn read_all(data: &mut Section<'_, '_>) -> Vec<Self> {
        let mut found = Vec::new();
        data.section("clusters", |clusters| {
            clusters.unique_sections(|name, cluster| {
                found.push(Self {
                    name: name.text.to_owned(),
                    at: name.at,
                    service_account_allow_list: cluster.texts("service_account_allow_list"),
                    audience: cluster.texts("audience"),
                    kube_config_file: cluster.text("kube_config_file", value::path),
                    allowed_node_label_keys: cluster.texts("allowed_node_label_keys"),
                    allowed_pod_label_keys: cluster.texts("allowed_pod_label_keys"),
                    use_pod_uid_for_agent_id: cluster.boolean("use_pod_uid_for_agent_id"),
                });
            });
        });
        found
    }

    fn validate(self, problems: &mut Problems) -> (String, PsatCluster) {
        let texts = |list: Option<Setting<Vec<String>>>| list.map(|list| list.value);
        let path = format!("plugins.NodeAttestor.k8s_psat.plugin_data.clusters.{}", self.name);
        let at = Some(Origin::File(self.at));
        if let Err(error) = SpiffeId::parse(&format!("spiffe://x/{}/x", self.name)) {
            let cause = Cause::ClusterName { name: self.name.clone(), error };
            problems.push(path.clone(), at, cause);
        }
        let accounts_path = format!("{path}.service_account_allow_list");
        let accounts = texts(self.service_account_allow_list).unwrap_or_default();
        if accounts.is_empty() && !problems.concern(&accounts_path) {
            problems.push(
                accounts_path,
                at,
                Cause::NoServiceAccount { cluster: self.name.clone() },
            );
        }
        let uses_pod_uid = self.use_pod_uid_for_agent_id.is_some_and(|uses| uses.value);
        let cluster = PsatCluster {
            service_account_allow_list: accounts,
            audience: texts(self.audience)
                .unwrap_or_else(|| vec![default::PSAT_AUDIENCE.to_owned()]),
            kube_config_file: self.kube_config_file.map(|path| path.value),
            allowed_node_label_keys: texts(self.allowed_node_label_keys).unwrap_or_default(),
            allowed_pod_label_keys: texts(self.allowed_pod_label_keys).unwrap_or_default(),
            agent_id_from: if uses_pod_uid { AgentIdFrom::PodUid } else { AgentIdFrom::NodeUid },
        };
        (self.name, cluster)
    }
}

/// The clusters by name.
pub(super) fn validate(
    raw: Vec<RawCluster>,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> BTreeMap<String, PsatCluster> {
    if raw.is_empty() {
        warnings.push(Warning::NoClusters);
    }
    raw.into_iter().map(|cluster| cluster.validate(problems)).collect()
}
