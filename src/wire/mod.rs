//! Other people's formats: the generated protobuf code, and its conversions from and to the domain.

pub mod bundle;
pub mod entry;
pub mod id;
pub mod proto;
pub mod record;
pub mod selector;
pub mod svid;
