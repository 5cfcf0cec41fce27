//! The fields that templates see, by their names in Go, each with its shape and where it comes from.
//!
//! One table for each of Go's structs that the controller keeps something of, from which both the check
//! of a template and the data for it are made. Absent fields have Go's zero values.

use crate::controller::world::{Container, Labels, Node, OwnerReference, Pod, Port};
use gotmpl::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

/// What a template can know of a value before it sees one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// Texts by key.
    Texts,
    /// A list.
    List(&'static Self),
    /// One of Go's structs.
    Struct(Struct),
    /// A pointer to nothing: whatever is asked of it is an error in Go.
    Nothing,
    /// Anything.
    Unknown,
}

/// Go's structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Struct {
    /// The data of a pod's templates.
    PodData,
    /// The data of a node's template.
    NodeData,
    /// A pod's metadata.
    PodMeta,
    /// A pod's spec.
    PodSpec,
    /// A node's metadata.
    NodeMeta,
    /// A node's spec.
    NodeSpec,
    /// A container.
    Container,
    /// A port of a container.
    ContainerPort,
    /// Who made an object.
    OwnerReference,
    /// The name of another object.
    LocalObjectReference,
}

/// A field of a struct of which `T` keeps something.
pub(super) struct Field<T> {
    name: &'static str,
    shape: Shape,
    value: fn(&T) -> Value,
}

const fn field<T>(name: &'static str, shape: Shape, value: fn(&T) -> Value) -> Field<T> {
    Field { name, shape, value }
}

/// Go's `ObjectMeta` of a pod.
const POD_META: &[Field<Pod>] = &[
    field("Name", Shape::Text, |pod| text(&pod.name)),
    field("GenerateName", Shape::Text, |pod| text(&pod.generate_name)),
    field("Namespace", Shape::Text, |pod| text(&pod.namespace)),
    field("UID", Shape::Text, |pod| text(&pod.uid)),
    field("Labels", Shape::Texts, |pod| texts(&pod.labels)),
    field("Annotations", Shape::Texts, |pod| texts(&pod.annotations)),
    field("OwnerReferences", Shape::List(&Shape::Struct(Struct::OwnerReference)), |pod| {
        pod.owners
            .iter()
            .map(|owner| fields(OWNER_REFERENCE, owner))
            .collect::<Vec<_>>()
            .into_list()
    }),
];

/// Go's `ObjectMeta` of a node.
const NODE_META: &[Field<Node>] = &[
    field("Name", Shape::Text, |node| text(&node.name)),
    field("GenerateName", Shape::Text, |_| nothing()),
    field("Namespace", Shape::Text, |_| nothing()),
    field("UID", Shape::Text, |node| text(&node.uid)),
    field("Labels", Shape::Texts, |node| texts(&node.labels)),
    field("Annotations", Shape::Texts, |node| texts(&node.annotations)),
    field("OwnerReferences", Shape::List(&Shape::Struct(Struct::OwnerReference)), |_| {
        Vec::new().into_list()
    }),
];

/// Go's `PodSpec`.
const POD_SPEC: &[Field<Pod>] = &[
    field("InitContainers", Shape::List(&Shape::Struct(Struct::Container)), |pod| {
        containers(&pod.spec.init_containers)
    }),
    field("Containers", Shape::List(&Shape::Struct(Struct::Container)), |pod| {
        containers(&pod.spec.containers)
    }),
    field("EphemeralContainers", Shape::List(&Shape::Struct(Struct::Container)), |pod| {
        containers(&pod.spec.ephemeral_containers)
    }),
    field("RestartPolicy", Shape::Text, |pod| text(&pod.spec.restart_policy)),
    field("TerminationGracePeriodSeconds", Shape::Number, |pod| {
        number(pod.spec.termination_grace_period_seconds)
    }),
    field("ActiveDeadlineSeconds", Shape::Number, |pod| number(pod.spec.active_deadline_seconds)),
    field("DNSPolicy", Shape::Text, |pod| text(&pod.spec.dns_policy)),
    field("NodeSelector", Shape::Texts, |pod| texts(&pod.spec.node_selector)),
    field("ServiceAccountName", Shape::Text, |pod| text(&pod.spec.service_account_name)),
    field("DeprecatedServiceAccount", Shape::Text, |pod| text(&pod.spec.service_account_name)),
    field("AutomountServiceAccountToken", Shape::Flag, |pod| {
        flag(pod.spec.automount_service_account_token)
    }),
    field("NodeName", Shape::Text, |pod| pod.node.as_ref().map_or_else(nothing, text)),
    field("HostNetwork", Shape::Flag, |pod| Value::Bool(pod.spec.host_network)),
    field("HostPID", Shape::Flag, |pod| Value::Bool(pod.spec.host_pid)),
    field("HostIPC", Shape::Flag, |pod| Value::Bool(pod.spec.host_ipc)),
    field("ShareProcessNamespace", Shape::Flag, |pod| flag(pod.spec.share_process_namespace)),
    field("ImagePullSecrets", Shape::List(&Shape::Struct(Struct::LocalObjectReference)), |pod| {
        let secrets = pod.spec.image_pull_secrets.iter();
        secrets.map(|secret| fields(LOCAL_OBJECT_REFERENCE, secret)).collect::<Vec<_>>().into_list()
    }),
    field("Hostname", Shape::Text, |pod| text(&pod.hostname)),
    field("Subdomain", Shape::Text, |pod| text(&pod.spec.subdomain)),
    field("SchedulerName", Shape::Text, |pod| text(&pod.spec.scheduler_name)),
    field("PriorityClassName", Shape::Text, |pod| text(&pod.spec.priority_class_name)),
    field("Priority", Shape::Number, |pod| number(pod.spec.priority.map(i64::from))),
    field("RuntimeClassName", Shape::Text, |pod| {
        pod.spec.runtime_class_name.as_ref().map_or(Value::Nil, text)
    }),
    field("EnableServiceLinks", Shape::Flag, |pod| flag(pod.spec.enable_service_links)),
    field("SetHostnameAsFQDN", Shape::Flag, |pod| flag(pod.spec.set_hostname_as_fqdn)),
    field("HostUsers", Shape::Flag, |pod| flag(pod.spec.host_users)),
];

/// Go's `NodeSpec`.
const NODE_SPEC: &[Field<Node>] = &[
    field("PodCIDR", Shape::Text, |node| text(&node.pod_cidr)),
    field("PodCIDRs", Shape::List(&Shape::Text), |node| {
        node.pod_cidrs.iter().map(text).collect::<Vec<_>>().into_list()
    }),
    field("ProviderID", Shape::Text, |node| text(&node.provider_id)),
    field("Unschedulable", Shape::Flag, |node| Value::Bool(node.unschedulable)),
    field("DoNotUseExternalID", Shape::Text, |_| nothing()),
];

const CONTAINER: &[Field<Container>] = &[
    field("Name", Shape::Text, |container| text(&container.name)),
    field("Image", Shape::Text, |container| text(&container.image)),
    field("WorkingDir", Shape::Text, |container| text(&container.working_dir)),
    field("Ports", Shape::List(&Shape::Struct(Struct::ContainerPort)), |container| {
        container
            .ports
            .iter()
            .map(|port| fields(CONTAINER_PORT, port))
            .collect::<Vec<_>>()
            .into_list()
    }),
    field("ImagePullPolicy", Shape::Text, |container| text(&container.image_pull_policy)),
    field("RestartPolicy", Shape::Text, |container| {
        container.restart_policy.as_ref().map_or(Value::Nil, text)
    }),
];

const CONTAINER_PORT: &[Field<Port>] = &[
    field("Name", Shape::Text, |port| text(&port.name)),
    field("HostPort", Shape::Number, |port| Value::Int(port.host_port.into())),
    field("ContainerPort", Shape::Number, |port| Value::Int(port.container_port.into())),
    field("Protocol", Shape::Text, |port| text(&port.protocol)),
    field("HostIP", Shape::Text, |port| text(&port.host_ip)),
];

const OWNER_REFERENCE: &[Field<OwnerReference>] = &[
    field("APIVersion", Shape::Text, |owner| text(&owner.api_version)),
    field("Kind", Shape::Text, |owner| text(&owner.kind)),
    field("Name", Shape::Text, |owner| text(&owner.name)),
    field("UID", Shape::Text, |owner| text(&owner.uid)),
    field("Controller", Shape::Flag, |owner| flag(owner.controller)),
];

const LOCAL_OBJECT_REFERENCE: &[Field<Arc<str>>] = &[field("Name", Shape::Text, text)];

/// What else Go's structs have, so that its absence can be explained.
const NOT_KEPT: &[(Struct, &[&str])] = &[
    (
        Struct::PodMeta,
        &[
            "SelfLink",
            "ResourceVersion",
            "Generation",
            "CreationTimestamp",
            "DeletionTimestamp",
            "DeletionGracePeriodSeconds",
            "Finalizers",
            "ManagedFields",
        ],
    ),
    (
        Struct::PodSpec,
        &[
            "Volumes",
            "SecurityContext",
            "Affinity",
            "Tolerations",
            "HostAliases",
            "DNSConfig",
            "ReadinessGates",
            "PreemptionPolicy",
            "Overhead",
            "TopologySpreadConstraints",
            "OS",
            "SchedulingGates",
            "ResourceClaims",
            "Resources",
        ],
    ),
    (
        Struct::Container,
        &[
            "Command",
            "Args",
            "EnvFrom",
            "Env",
            "Resources",
            "ResizePolicy",
            "VolumeMounts",
            "VolumeDevices",
            "LivenessProbe",
            "ReadinessProbe",
            "StartupProbe",
            "Lifecycle",
            "TerminationMessagePath",
            "TerminationMessagePolicy",
            "SecurityContext",
            "Stdin",
            "StdinOnce",
            "TTY",
            "TargetContainerName",
        ],
    ),
    (Struct::OwnerReference, &["BlockOwnerDeletion"]),
    (Struct::NodeSpec, &["Taints", "ConfigSource"]),
];

impl Struct {
    /// The shape of the field of this name, if there is one.
    pub(super) fn field(self, name: &str) -> Option<Shape> {
        match self {
            Self::PodData => match name {
                "PodMeta" => Some(Shape::Struct(Self::PodMeta)),
                "PodSpec" => Some(Shape::Struct(Self::PodSpec)),
                _ => Self::NodeData.field(name).filter(|shape| *shape != Shape::Nothing),
            },
            Self::NodeData => match name {
                "TrustDomain" | "ClusterName" | "ClusterDomain" => Some(Shape::Text),
                "NodeMeta" => Some(Shape::Struct(Self::NodeMeta)),
                "NodeSpec" => Some(Shape::Struct(Self::NodeSpec)),
                "PodMeta" | "PodSpec" => Some(Shape::Nothing),
                _ => None,
            },
            Self::PodMeta => find(POD_META, name),
            Self::PodSpec => find(POD_SPEC, name),
            Self::NodeMeta => find(NODE_META, name),
            Self::NodeSpec => find(NODE_SPEC, name),
            Self::Container => find(CONTAINER, name),
            Self::ContainerPort => find(CONTAINER_PORT, name),
            Self::OwnerReference => find(OWNER_REFERENCE, name),
            Self::LocalObjectReference => find(LOCAL_OBJECT_REFERENCE, name),
        }
    }

    /// Whether Go's struct has a field of this name that the controller drops.
    pub(super) fn drops(self, name: &str) -> bool {
        let of = if self == Self::NodeMeta { Self::PodMeta } else { self };
        NOT_KEPT.iter().any(|(other, names)| *other == of && names.contains(&name))
    }

    /// What Go calls it.
    pub(super) const fn go_name(self) -> &'static str {
        match self {
            Self::PodData | Self::NodeData => "template data",
            Self::PodMeta | Self::NodeMeta => "ObjectMeta",
            Self::PodSpec => "PodSpec",
            Self::NodeSpec => "NodeSpec",
            Self::Container => "Container",
            Self::ContainerPort => "ContainerPort",
            Self::OwnerReference => "OwnerReference",
            Self::LocalObjectReference => "LocalObjectReference",
        }
    }
}

pub(super) fn pod_meta(pod: &Pod) -> Value {
    fields(POD_META, pod)
}

pub(super) fn pod_spec(pod: &Pod) -> Value {
    fields(POD_SPEC, pod)
}

pub(super) fn node_meta(node: &Node) -> Value {
    fields(NODE_META, node)
}

pub(super) fn node_spec(node: &Node) -> Value {
    fields(NODE_SPEC, node)
}

/// A struct with these fields, named by texts that are made once.
pub(super) fn structure(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(Arc::new(fields.into_iter().map(|(name, value)| (shared(name), value)).collect()))
}

fn fields<T>(table: &[Field<T>], from: &T) -> Value {
    structure(table.iter().map(|field| (field.name, (field.value)(from))))
}

fn find<T>(table: &[Field<T>], name: &str) -> Option<Shape> {
    table.iter().find(|field| field.name == name).map(|field| field.shape)
}

fn shared(name: &'static str) -> Arc<str> {
    static NAMES: LazyLock<HashMap<&'static str, Arc<str>>> = LazyLock::new(|| {
        fn names<T>(table: &[Field<T>]) -> impl Iterator<Item = &'static str> {
            table.iter().map(|field| field.name)
        }
        let data = ["TrustDomain", "ClusterName", "ClusterDomain"].into_iter();
        let data = data.chain(["PodMeta", "PodSpec", "NodeMeta", "NodeSpec"]);
        data.chain(names(POD_META))
            .chain(names(POD_SPEC))
            .chain(names(NODE_META))
            .chain(names(NODE_SPEC))
            .chain(names(CONTAINER))
            .chain(names(CONTAINER_PORT))
            .chain(names(OWNER_REFERENCE))
            .map(|name| (name, name.into()))
            .collect()
    });
    NAMES.get(name).map_or_else(|| name.into(), Arc::clone)
}

fn text(text: &Arc<str>) -> Value {
    Value::String(Arc::clone(text))
}

fn nothing() -> Value {
    Value::String("".into())
}

fn number(number: Option<i64>) -> Value {
    number.map_or(Value::Nil, Value::Int)
}

fn flag(flag: Option<bool>) -> Value {
    flag.map_or(Value::Nil, Value::Bool)
}

fn texts(labels: &Labels) -> Value {
    let texts: BTreeMap<_, _> =
        labels.iter().map(|(key, value)| (Arc::clone(key), text(value))).collect();
    Value::Map(Arc::new(texts))
}

fn containers(all: &[Container]) -> Value {
    all.iter().map(|container| fields(CONTAINER, container)).collect::<Vec<_>>().into_list()
}

/// A list of values as a value.
trait IntoList {
    fn into_list(self) -> Value;
}

impl IntoList for Vec<Value> {
    fn into_list(self) -> Value {
        Value::List(self.into())
    }
}
