//! The SPIFFE domain as values that cannot hold a wrong state: ids, selectors, entries, SVIDs, bundles.

pub mod bundle;
pub mod bundle_doc;
pub mod dns;
pub mod entry;
pub mod id;
pub mod lifetime;
pub mod selector;
pub mod svid;

pub use bundle::Bundle;
pub use entry::{Entry, EntryId, EntrySpec};
pub use id::{SpiffeId, TrustDomain};
pub use selector::{Selector, SelectorSet};
pub use svid::X509Svid;
