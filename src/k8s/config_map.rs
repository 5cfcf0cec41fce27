//! ConfigMaps: what one holds, and having some of its keys hold something else.

use super::{
    client::KubeClient,
    error::{Fault, KubeError},
    lookup::check_name,
};
use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use std::collections::BTreeMap;

impl KubeClient {
    /// The texts of a ConfigMap by their keys; `None` when there is no such map. Needs the verb `get`.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let ask =
            async |client| Api::<v1::ConfigMap>::namespaced(client, namespace).get(name).await;
        match self.call(ask).await {
            Ok(map) => Ok(Some(map.data.unwrap_or_default())),
            Err(error) if error.fault() == Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the keys of `data` hold its texts, whoever wrote them before (server-side apply, forced). Other
    /// keys stay, but for those that the same `manager` applied earlier and that are not in `data`. Needs
    /// the verb `patch`, and `create` when there is no such map.
    ///
    /// # Errors
    /// When the API server does not do it.
    pub async fn apply_config_map(
        &self,
        manager: &str,
        namespace: &str,
        name: &str,
        data: BTreeMap<String, String>,
    ) -> Result<(), KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let map = v1::ConfigMap { data: Some(data), metadata, ..v1::ConfigMap::default() };
        let params = PatchParams::apply(manager).force();
        let ask = async |client| {
            let maps = Api::<v1::ConfigMap>::namespaced(client, namespace);
            maps.patch(name, &params, &Patch::Apply(&map)).await
        };
        self.call(ask).await.map(drop)
    }
}
