//! What is wrong with the content of a configuration: every problem, each with its place.

use std::fmt;
use std::net::AddrParseError;
use std::path::{Path, PathBuf};

use super::{Origin, Position, Setting, value};
use crate::spiffe::id;

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// The setting, as a dotted path; empty for the whole file.
    pub path: String,
    /// Where it was set; `None` if it is missing.
    pub origin: Option<Origin>,
    /// What is wrong with it.
    pub cause: Cause,
}

/// What can be wrong with a setting.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Nobody knows this key.
    #[error("unknown key {key:?}{}{}", In(section), Hint(*similar))]
    UnknownKey {
        /// The block it stands in; empty at the top.
        section: String,
        /// The key.
        key: String,
        /// The known key it resembles.
        similar: Option<&'static str>,
    },
    /// SPIRE knows this key and finial does not yet.
    #[error("{path} is a SPIRE setting that finial does not support yet")]
    UnsupportedKey {
        /// The key with its blocks.
        path: String,
    },
    /// Nobody knows this plugin.
    #[error("unknown {kind} plugin {name:?}{}", Hint(*similar))]
    UnknownPlugin {
        /// The plugin type.
        kind: String,
        /// The plugin's name.
        name: String,
        /// The known plugin it resembles.
        similar: Option<&'static str>,
    },
    /// SPIRE has this plugin and finial does not yet.
    #[error("{kind} {name:?} is a SPIRE plugin that finial does not support yet")]
    UnsupportedPlugin {
        /// The plugin type.
        kind: String,
        /// The plugin's name.
        name: String,
    },
    /// The same plugin is configured twice; the text is SPIRE's.
    #[error("plugin {kind:?}/{name:?} declared more than once")]
    PluginTwice {
        /// The plugin type.
        kind: String,
        /// The plugin's name.
        name: String,
    },
    /// Too few or too many plugins of a type; the text is SPIRE's.
    #[error("plugin type {kind:?} constraint not satisfied: expected {expected} but got {count}")]
    PluginCount {
        /// The plugin type.
        kind: &'static str,
        /// How many there may be.
        expected: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A key is set twice.
    #[error("{key:?} is set twice, first at {first}")]
    Duplicate {
        /// The key.
        key: String,
        /// Where it was set first.
        first: Position,
    },
    /// A value of another kind than the setting has.
    #[error("{path} must be {expected}, not {found}")]
    WrongType {
        /// The setting.
        path: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A required setting is missing; the text is SPIRE's.
    #[error("{what} must be configured")]
    Missing {
        /// The setting or block.
        what: &'static str,
    },
    /// None of several ways to give something was used; the text is SPIRE's.
    #[error("{what} must be configured unless {unless} is set")]
    MissingUnless {
        /// The settings of which one is needed.
        what: &'static str,
        /// The setting that makes them needless.
        unless: &'static str,
    },
    /// Two settings that exclude one another; the text is SPIRE's.
    #[error("only one of {first} or {second} can be specified, not both")]
    Exclusive {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A value that cannot be read; the frame is SPIRE's.
    #[error("could not parse {key} {text:?}: {error}")]
    Value {
        /// The key, without its blocks.
        key: String,
        /// What was written.
        text: String,
        /// Why it cannot be read.
        error: value::Error,
    },
    /// A number outside of what the setting allows.
    #[error("{path} must be {expected}, not {found}")]
    Range {
        /// The setting.
        path: String,
        /// The numbers it may have.
        expected: &'static str,
        /// The number it has.
        found: i64,
    },
    /// A host name that has no address, where a listener needs one.
    #[error("could not resolve {host:?}: {error}; give an IP address or localhost")]
    Host {
        /// The host as written.
        host: String,
        /// Why it is not an address.
        error: AddrParseError,
    },
    /// A socket path that does not fit into a socket address.
    #[error(
        "socket path {path:?} has {length} bytes, and the system allows {}",
        value::MAX_SOCKET_PATH
    )]
    SocketPathTooLong {
        /// The absolute path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A further name for a socket that is no name in its directory.
    #[error("{name:?} is no name of a file; the names stand for the socket in its own directory")]
    NotAFileName {
        /// The name as written.
        name: String,
    },
    /// The admin socket where workloads could reach it; the text is SPIRE's.
    #[error(
        "admin socket cannot be in the same directory or a subdirectory as that containing the Workload API socket"
    )]
    AdminSocketExposed,
    /// A cluster whose agents nobody may be; the text is SPIRE's.
    #[error("cluster {cluster:?} configuration must have at least one service account allowed")]
    NoServiceAccount {
        /// The cluster.
        cluster: String,
    },
    /// A cluster's name that no SPIFFE ID can hold.
    #[error("cluster name {name:?} cannot stand in an agent's ID: {error}")]
    ClusterName {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: id::Error,
    },
    /// A bundle endpoint that is told to prove who it is, and not how; the text is SPIRE's.
    #[error("exactly one bundle endpoint profile is expected")]
    NoEndpointProfile,
    /// A bundle's cluster that lacks something; the text is SPIRE's.
    #[error("missing {what} in cluster {cluster:?}")]
    MissingInCluster {
        /// What it lacks.
        what: &'static str,
        /// The cluster.
        cluster: String,
    },
    /// A cluster beside the own one that nothing leads to; the text is SPIRE's.
    #[error("cluster configuration is missing kube_config_file_path")]
    ClusterWithoutKubeconfig,
    /// One key of a ConfigMap that is told to hold the bundle in two ways.
    #[error("key {key:?} of ConfigMap {map} cannot hold the bundle in two forms; use two keys")]
    BundleInTwoForms {
        /// The ConfigMap.
        map: String,
        /// The key.
        key: String,
    },
    /// `-expandEnv` met a variable that does not exist.
    #[error("environment variable {name:?} is not defined; write $$ for a dollar sign")]
    UndefinedVariable {
        /// The variable.
        name: String,
    },
}

impl Cause {
    /// Whether a script that reads SPIRE's output may know the text, which then stands alone when it is alone.
    const fn is_spires_text(&self) -> bool {
        matches!(
            self,
            Self::PluginTwice { .. }
                | Self::PluginCount { .. }
                | Self::Missing { .. }
                | Self::MissingUnless { .. }
                | Self::Exclusive { .. }
                | Self::AdminSocketExposed
                | Self::NoServiceAccount { .. }
                | Self::NoEndpointProfile
                | Self::MissingInCluster { .. }
                | Self::ClusterWithoutKubeconfig
                | Self::Value { error: value::Error::TrustDomain(_), .. }
        )
    }
}

/// All that is wrong with one configuration, in the order of the file.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    /// No problems yet in this file.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Adds a problem.
    pub fn push(&mut self, path: impl Into<String>, origin: Option<Origin>, cause: Cause) {
        self.list.push(Problem { path: path.into(), origin, cause });
    }

    /// The setting at `path`; its absence is a problem, unless it is there and already known to be wrong.
    pub fn require<T>(
        &mut self,
        setting: Option<Setting<T>>,
        path: &str,
        what: &'static str,
    ) -> Option<T> {
        if setting.is_none() && !self.concern(path) {
            self.push(path, None, Cause::Missing { what });
        }
        setting.map(|setting| setting.value)
    }

    /// Whether something is wrong with the setting at `path`.
    #[must_use]
    pub fn concern(&self, path: &str) -> bool {
        self.list.iter().any(|problem| problem.path == path)
    }

    /// Puts the value of a command-line flag over a setting; an empty one is not set, as in SPIRE.
    pub fn overlay<T>(
        &mut self,
        setting: &mut Option<Setting<T>>,
        (path, flag): (&str, &'static str),
        text: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, value::Error>,
    ) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let origin = Origin::Flag(flag);
        match read(text) {
            Ok(value) => *setting = Some(Setting { value, origin }),
            Err(error) => {
                let key = path.rsplit('.').next().unwrap_or(path).to_owned();
                let cause = Cause::Value { key, text: text.to_owned(), error };
                self.push(path, Some(origin), cause);
            }
        }
    }

    fn place(&self, origin: Option<Origin>) -> String {
        let file = self.file.display();
        match origin {
            Some(Origin::File(position)) => format!("{file}:{position}"),
            Some(Origin::Flag(flag)) => flag.to_owned(),
            None => file.to_string(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.list.as_slice() {
            if only.cause.is_spires_text() {
                return only.cause.fmt(f);
            }
            return write!(f, "{}: {}", self.place(only.origin), only.cause);
        }
        write!(f, "{} problems", self.list.len())?;
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|problem| match problem.origin {
            Some(Origin::Flag(_)) => (0, None),
            Some(Origin::File(position)) => (1, Some(position)),
            None => (2, None),
        });
        sorted.iter().try_for_each(|problem| {
            write!(f, "\n  {}: {}", self.place(problem.origin), problem.cause)
        })
    }
}

struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            section => write!(f, " in {section}"),
        }
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |similar| write!(f, "; did you mean {similar:?}?"))
    }
}
