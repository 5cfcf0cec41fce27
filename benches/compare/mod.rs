//! `make compare`: the same load on a real SPIRE and on finial, in one run and in turn, so that what a
//! machine does to one of them it does to the other.

pub(crate) mod command;
mod figure;
mod fleet;
mod late;
mod push;
mod round;
mod table;
