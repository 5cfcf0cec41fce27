//! The SPIFFE standards, clause by clause.

mod spiffe_id;
