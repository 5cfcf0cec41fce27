//! The paths of the API: which objects a path names.

/// A kind of object by its place in the API: `/api/v1` and `pods`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) plural: String,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) resource: Resource,
    /// Nothing for cluster-scoped objects, and for objects of all namespaces.
    pub(super) namespace: Option<String>,
    /// Nothing for a collection.
    pub(super) name: Option<String>,
    /// `status` and the like.
    pub(super) part: Option<String>,
}

impl Target {
    /// Reads a path.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => (format!("/api/{version}"), rest),
            ["apis", group, version, rest @ ..] => (format!("/apis/{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return None };
        let text = |segment: &&str| (*segment).to_owned();
        Some(Self {
            resource: Resource { group, plural: text(plural) },
            namespace: namespace.as_ref().map(text),
            name: rest.first().map(text),
            part: rest.get(1).map(text),
        })
    }

    /// Where an object with this `apiVersion`, `kind` and metadata stands.
    pub(super) fn of(object: &serde_json::Value) -> Self {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let version = object["apiVersion"].as_str().unwrap();
        let group = match version.split_once('/') {
            Some(_) => format!("/apis/{version}"),
            None => format!("/api/{version}"),
        };
        let plural = plural(object["kind"].as_str().unwrap());
        Self {
            resource: Resource { group, plural },
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            part: None,
        }
    }
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => kind,
        None => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_collection_an_object_or_a_part_of_one() {
        let named = |path: &str| {
            let target = Target::parse(path).unwrap();
            (target.resource.plural, target.namespace, target.name, target.part)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named("/api/v1/pods"), ("pods".into(), None, None, None));
        assert_eq!(
            named("/api/v1/namespaces/a/pods/p"),
            ("pods".into(), some("a"), some("p"), None)
        );
        assert_eq!(named("/api/v1/namespaces/a"), ("namespaces".into(), None, some("a"), None));
        assert_eq!(
            named("/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/x/status"),
            ("clusterspiffeids".into(), None, some("x"), some("status"))
        );
        for (kind, wanted) in
            [("ClusterStaticEntry", "clusterstaticentries"), ("Endpoints", "endpoints")]
        {
            assert_eq!(plural(kind), wanted);
        }
    }
}
