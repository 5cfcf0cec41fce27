//! Tells which selectors a pod can never have, by what is known of it.
//!
//! A rule without label selectors, as in Istio's guide, gives an entry for every pod of the cluster; with
//! `k8s:ns:…` among its selector templates nearly all of them could never match, and are left out here.
//! Images are not compared: a runtime may report another name of the same image than the pod has.

use crate::controller::world::Pod;
use crate::spiffe::Selector;

/// Whether an agent would never find this selector at a process of the pod.
pub(super) fn contradicts(selector: &Selector, pod: &Pod) -> bool {
    if selector.kind() != "k8s" {
        return false;
    }
    let Some((name, value)) = selector.value().split_once(':') else { return false };
    match name {
        "ns" => *pod.namespace != *value,
        "sa" => *pod.spec.service_account_name != *value,
        "pod-name" => *pod.name != *value,
        "pod-uid" => *pod.uid != *value,
        "node-name" => pod.node.as_deref().is_some_and(|node| node != value),
        "pod-label" => !has_label(pod, value),
        "container-name" => !pod.containers().any(|container| *container.name == *value),
        _ => false,
    }
}

/// Of `a:b:c` either `a` or `a:b` could be the key; a label's key has no colon.
fn has_label(pod: &Pod, pair: &str) -> bool {
    let Some((key, value)) = pair.split_once(':') else { return false };
    pod.labels.value(key) == Some(value)
}
