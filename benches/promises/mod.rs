//! One module per promise: what it starts, what it measures, and the rows that come of it.

pub(crate) mod svid_sign;
