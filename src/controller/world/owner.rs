//! Names the custom resource on whose behalf an entry is wanted.

use std::{fmt, sync::Arc};

/// A custom resource, by kind and name; both kinds are cluster-scoped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A ClusterSPIFFEID.
    SpiffeId(Arc<str>),
    /// A ClusterStaticEntry.
    StaticEntry(Arc<str>),
}

impl Owner {
    /// The name of the object.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        match self {
            Self::SpiffeId(name) | Self::StaticEntry(name) => name,
        }
    }

    /// The kind of the object.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SpiffeId(_) => "ClusterSPIFFEID",
            Self::StaticEntry(_) => "ClusterStaticEntry",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}
