//! Keys, certificates and signing requests as X.509 (RFC 5280) has them; knows nothing of SPIFFE.

pub mod cert;
pub mod chain;
pub mod csr;
mod der;
mod encode;
pub mod extensions;
pub mod issue;
pub mod key;
pub mod lint;
pub mod name;
pub mod pem;
pub mod template;

pub use cert::Certificate;
pub use key::{KeyPair, KeyType, PublicKey, SecretKey};
