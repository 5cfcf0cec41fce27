//! The certificate authority, seen by those who need signatures and by those who verify them.

mod certificates;
mod restart;
mod rotation;
mod world;
