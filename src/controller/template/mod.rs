//! Go templates as the custom resources use them: compiled once, rendered for each pod.
//!
//! The grammar and the functions are those of Go's `text/template`, by gotmpl. What Go's types add is
//! added here: a field that does not exist is refused when the template is compiled, an absent key of a
//! map is "" to `index`, and what Go prints for no value is an error, since it can be part of no identity.

mod compiled;
mod data;
mod fields;
mod functions;
mod of_cluster;
mod shape;

pub use compiled::{CompileError, RenderError, Template};
pub use data::Data;
pub use shape::{ShapeError, Subject};

#[cfg(test)]
mod tests;
