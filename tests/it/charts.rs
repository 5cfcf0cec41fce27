//! The charts: what they install, what they refuse, and that both ends of every name are the same. Rendered by
//! a real helm, checked against Kubernetes' schemas and by the real programs.

mod crds;
mod dashboard;
mod golden;
mod guide;
mod helm;
mod istio;
mod keys;
mod names;
mod notes;
mod programs;
mod refusals;
mod rights;
mod safety;
