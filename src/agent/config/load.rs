//! From a file and flags to the agent's configuration, or to all that is wrong with them.

use std::path::Path;

use crate::config::{Environment, Error, Loaded, Source};

use super::flags::Overrides;
use super::model::AgentConfig;
use super::raw::RawAgent;
use super::validate::validate;

/// Reads a configuration file and puts the flags over it.
///
/// # Errors
///
/// If the file cannot be read or parsed, or with all that is wrong in it.
pub fn load(
    path: &Path,
    environment: Environment<'_>,
    overrides: &Overrides,
) -> Result<Loaded<AgentConfig>, Error> {
    read(&Source::open(path, environment)?, overrides)
}

/// Reads a configuration that is already in memory.
///
/// # Errors
///
/// If it cannot be parsed, or with all that is wrong in it.
pub fn read(source: &Source, overrides: &Overrides) -> Result<Loaded<AgentConfig>, Error> {
    let (raw, mut problems) = source.read(RawAgent::read)?;
    let raw = raw.overlay(overrides, &mut problems);
    let mut warnings = Vec::new();
    let config = validate(raw, &mut problems, &mut warnings);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Error::Invalid { problems }),
    }
}

#[cfg(test)]
mod installed;
#[cfg(test)]
mod tests;
