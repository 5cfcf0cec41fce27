//! What a template is rendered with.

use gotmpl::Value;

/// The data of one rendering: the cluster, a node, and a pod on it.
#[derive(Clone, Debug)]
pub struct Data(Value);

impl Data {
    pub(super) const fn new(value: Value) -> Self {
        Self(value)
    }

    pub(super) const fn value(&self) -> &Value {
        &self.0
    }
}
