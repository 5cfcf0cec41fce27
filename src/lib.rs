//! finial
