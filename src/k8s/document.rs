//! Any object or collection of the API as the JSON that it is; the caller's type takes of it what it needs.

use super::{
    client::KubeClient,
    error::{Fault, KubeError},
    lookup::check_name,
};
use http::Request;
use serde::de::DeserializeOwned;
use std::fmt;

/// Where an object or a collection stands in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    api: &'static str,
    kind: &'static str,
    namespace: Option<String>,
    name: Option<String>,
    label: Option<(&'static str, String)>,
}

impl Place {
    /// All objects of a kind: its group with the version, as `/apis/apps/v1`, and its plural.
    #[must_use]
    pub const fn all(api: &'static str, kind: &'static str) -> Self {
        Self { api, kind, namespace: None, name: None, label: None }
    }

    /// Of them, those in a namespace.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Of them, the one of this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// Of them, those with this label; the value is checked as a name is.
    #[must_use]
    pub fn labelled(self, key: &'static str, value: &str) -> Self {
        Self { label: Some((key, value.to_owned())), ..self }
    }

    /// The command that says whether the caller may read this.
    #[must_use]
    pub fn can_i(&self) -> String {
        let group = self.api.strip_prefix("/apis/").and_then(|api| api.split('/').next());
        let group = group.map(|group| format!(".{group}")).unwrap_or_default();
        let (verb, name) = match &self.name {
            Some(name) => ("get", format!("/{name}")),
            None => ("list", String::new()),
        };
        let namespace = self.namespace.as_ref().map(|of| format!(" -n {of}")).unwrap_or_default();
        format!("kubectl auth can-i {verb} {}{group}{name}{namespace}", self.kind)
    }

    /// The command that shows it.
    #[must_use]
    pub fn show(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let namespace = self.namespace.as_ref().map(|of| format!(" -n {of}")).unwrap_or_default();
        format!("kubectl get {}{name}{namespace} -o yaml", self.kind)
    }

    fn path(&self) -> Result<String, KubeError> {
        let Self { api, kind, namespace, name, label } = self;
        for part in [namespace.as_ref(), name.as_ref(), label.as_ref().map(|(_, value)| value)] {
            part.map_or(Ok(()), |part| check_name(part))?;
        }
        let namespace = namespace.as_ref().map(|of| format!("/namespaces/{of}"));
        let name = name.as_ref().map(|name| format!("/{name}"));
        let label = label.as_ref().map(|(key, value)| format!("?labelSelector={key}%3D{value}"));
        let [namespace, name, label] = [namespace, name, label].map(Option::unwrap_or_default);
        Ok(format!("{api}{namespace}/{kind}{name}{label}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

impl KubeClient {
    /// What stands at a place; `None` when there is no such object, or no such kind. Needs the verb `get`
    /// for an object and `list` for a collection. Dropping the future gives the call up.
    ///
    /// # Errors
    /// When the API server does not say, or says what is no `T`.
    pub async fn document<T>(&self, place: &Place) -> Result<Option<T>, KubeError>
    where
        T: DeserializeOwned,
    {
        let path = place.path()?;
        let ask = async |client: kube::Client| {
            let request = Request::get(path).body(Vec::new());
            client.request(request.map_err(kube::Error::HttpError)?).await
        };
        match self.call(ask).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.fault() == Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_path_a_name_and_the_command_that_asks_for_the_right_to_it() {
        let deployment =
            Place::all("/apis/apps/v1", "deployments").within("istio-system").named("istiod");
        let wanted = "/apis/apps/v1/namespaces/istio-system/deployments/istiod";
        assert_eq!(deployment.path().unwrap(), wanted);
        assert_eq!(deployment.to_string(), "deployments istiod in istio-system");
        let command = "kubectl auth can-i get deployments.apps/istiod -n istio-system";
        assert_eq!(deployment.can_i(), command);
        let nodes = Place::all("/api/v1", "nodes");
        assert_eq!(nodes.can_i(), "kubectl auth can-i list nodes");
        let labelled = nodes.labelled("kubernetes.io/os", "linux");
        assert_eq!(
            labelled.path().unwrap(),
            "/api/v1/nodes?labelSelector=kubernetes.io/os%3Dlinux"
        );
        for leading_elsewhere in
            [Place::all("/api/v1", "pods").within("a/b"), labelled.labelled("a", "b&watch=true")]
        {
            assert!(leading_elsewhere.path().is_err(), "{leading_elsewhere:?}");
        }
    }
}
