//! The certificate authority, seen by those who need signatures and by those who verify them.

mod certificates;
mod forged_csr;
mod restart;
mod rotation;
mod svid_service;
mod world;
