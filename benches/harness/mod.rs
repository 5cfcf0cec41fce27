//! What every bench stands on: the product under test as processes, their cost, and the rows that say
//! whether a promise held.

pub(crate) mod admin;
pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod crowd;
pub(crate) mod host;
pub(crate) mod machine;
pub(crate) mod mesh;
pub(crate) mod process;
pub(crate) mod product;
pub(crate) mod row;
pub(crate) mod server;
pub(crate) mod steal;

use crate::load::stats;
