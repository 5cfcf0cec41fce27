//! What a plan wants, event by event; and that the order of events does not matter.

mod cluster;
mod frozen;
mod order;
mod rules;
