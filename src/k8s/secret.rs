//! Secrets: an object that is read whole and replaced whole, and only by whoever knows its latest version.

use super::{
    client::KubeClient,
    error::{Fault, KubeError},
    lookup::check_name,
};
use k8s_openapi::{ByteString, api::core::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroize as _;

/// A Secret as it was read, or as the API server has answered a write. Nothing prints its values, and
/// they are wiped with it.
pub struct SecretObject(v1::Secret);

impl KubeClient {
    /// The Secret of this name; `None` when there is none. Needs the verb `get`.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretObject>, KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let ask = async |client| Api::<v1::Secret>::namespaced(client, namespace).get(name).await;
        match self.call(ask).await {
            Ok(object) => Ok(Some(SecretObject(object))),
            Err(error) if error.fault() == Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a Secret. Needs the verb `create` on all Secrets of the namespace: Kubernetes cannot restrict
    /// it to a name.
    ///
    /// # Errors
    /// When there is one already ([`KubeError::is_conflict`]), or the API server does not make it.
    pub async fn create_secret(
        &self,
        namespace: &str,
        name: &str,
        data: BTreeMap<String, Vec<u8>>,
    ) -> Result<SecretObject, KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let object = SecretObject(v1::Secret { metadata, ..v1::Secret::default() }).with(data);
        let ask = async |client| {
            let secrets = Api::<v1::Secret>::namespaced(client, namespace);
            secrets.create(&PostParams::default(), &object.0).await
        };
        self.call(ask).await.map(SecretObject)
    }

    /// Replaces the data of a Secret that nobody has written since `known`; the rest of it stays. Needs
    /// the verb `update`.
    ///
    /// # Errors
    /// When somebody has ([`KubeError::is_conflict`]), or the API server does not do it.
    pub async fn replace_secret(
        &self,
        namespace: &str,
        name: &str,
        known: &SecretObject,
        data: BTreeMap<String, Vec<u8>>,
    ) -> Result<SecretObject, KubeError> {
        check_name(namespace)?;
        check_name(name)?;
        let object = known.with(data);
        let ask = async |client| {
            let secrets = Api::<v1::Secret>::namespaced(client, namespace);
            secrets.replace(name, &PostParams::default(), &object.0).await
        };
        self.call(ask).await.map(SecretObject)
    }
}

impl SecretObject {
    /// One of its values.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.data.as_ref()?.get(key).map(|value| value.0.as_slice())
    }

    /// Its values by their keys.
    pub fn data(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let data = self.0.data.iter().flatten();
        data.map(|(key, value)| (key.as_str(), value.0.as_slice()))
    }

    /// The same object with other data.
    fn with(&self, data: BTreeMap<String, Vec<u8>>) -> Self {
        let data = data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        Self(v1::Secret {
            data: Some(data),
            metadata: self.0.metadata.clone(),
            type_: self.0.type_.clone(),
            immutable: self.0.immutable,
            string_data: None,
        })
    }
}

impl Drop for SecretObject {
    fn drop(&mut self) {
        self.0.data.iter_mut().flat_map(BTreeMap::values_mut).for_each(|value| value.0.zeroize());
    }
}

impl fmt::Debug for SecretObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.0.metadata.resource_version.as_deref();
        f.debug_struct("SecretObject").field("version", &version).finish_non_exhaustive()
    }
}
