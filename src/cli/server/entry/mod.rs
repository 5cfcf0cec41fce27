//! `entry create|update|show|count|delete`: registration entries.

pub(super) mod attributes;
pub(super) mod batch;
pub(super) mod block;
pub(super) mod count;
pub(super) mod create;
pub(super) mod data;
pub(super) mod delete;
pub(super) mod filter;
pub(super) mod order;
pub(super) mod show;
pub(super) mod update;
