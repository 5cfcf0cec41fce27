//! Which socket a command talks to: flag, instance template, environment, default, in this order.

use super::flags::FlagSet;
use std::path::PathBuf;

/// The names under which a program's socket is known. Variables and defaults are SPIRE's.
#[derive(Debug)]
pub(super) struct Names {
    default: &'static str,
    variable: &'static str,
    template: &'static str,
    path_help: &'static str,
    instance_help: &'static str,
}

/// The server's private socket.
pub(super) const SERVER: &Names = &Names {
    default: crate::server::config::default::SOCKET_PATH,
    variable: "SPIRE_SERVER_PRIVATE_SOCKET",
    template: "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE",
    path_help: "The server's private socket",
    instance_help: "Replaces %i in the socket template (environment variable SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE)",
};

/// The agent's public socket.
pub(super) const AGENT: &Names = &Names {
    default: crate::agent::config::default::SOCKET_PATH,
    variable: "SPIRE_AGENT_PUBLIC_SOCKET",
    template: "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE",
    path_help: "The agent's Workload API and SDS socket",
    instance_help: "Replaces %i in the socket template (environment variable SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE)",
};

/// A choice of socket that cannot be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There is no template for the instance.
    #[error("you must define {0} to use the instance flag")]
    NoTemplate(&'static str),
    /// The template has no place for it.
    #[error("failed to find %i in {0}")]
    NoPlace(&'static str),
}

/// The flags `-socketPath` and `-instance`.
#[derive(Debug)]
pub(super) struct SocketFlags {
    names: &'static Names,
    path: String,
    instance: String,
}

impl SocketFlags {
    /// The flags of a program's socket, at their defaults.
    pub(super) fn new(names: &'static Names) -> Self {
        Self { names, path: names.default.to_owned(), instance: String::new() }
    }

    /// Adds both.
    pub(super) fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("socketPath", &mut self.path, self.names.path_help);
        flags.add("instance", &mut self.instance, self.names.instance_help);
    }

    /// The socket that the flags and the environment name. A flag that repeats the default does not
    /// count, as in SPIRE.
    ///
    /// # Errors
    /// When an instance is asked for and there is no template for it.
    pub(super) fn path(&self, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let template = variable(self.names.template);
        if !self.instance.is_empty() {
            let template = template.as_deref().ok_or(Error::NoTemplate(self.names.template))?;
            if !template.contains("%i") {
                return Err(Error::NoPlace(self.names.template));
            }
        }
        if self.path != self.names.default {
            return Ok(PathBuf::from(&self.path));
        }
        let of_instance = template
            .filter(|_| !self.instance.is_empty())
            .map(|template| template.replace("%i", &self.instance));
        let chosen = of_instance.or_else(|| variable(self.names.variable));
        Ok(PathBuf::from(chosen.unwrap_or_else(|| self.path.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(
        path: Option<&str>,
        instance: &str,
        variables: &[(&str, &str)],
    ) -> Result<PathBuf, Error> {
        let mut flags = SocketFlags::new(SERVER);
        flags.instance = instance.to_owned();
        if let Some(path) = path {
            flags.path = path.to_owned();
        }
        let found = |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
        flags.path(found)
    }

    #[test]
    fn the_flag_beats_the_instance_which_beats_the_environment() {
        let socket = ("SPIRE_SERVER_PRIVATE_SOCKET", "/env");
        let template = ("SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE", "/t/%i/s");
        let default = "/tmp/spire-server/private/api.sock";
        for (flag, instance, variables, expected) in [
            (None, "", &[][..], default),
            (None, "", &[("SPIRE_SERVER_PRIVATE_SOCKET", "")], default),
            (None, "", &[socket, template], "/env"),
            (None, "a", &[socket, template], "/t/a/s"),
            (Some("/flag"), "a", &[socket, template], "/flag"),
            (Some(default), "", &[socket], "/env"),
        ] {
            assert_eq!(path(flag, instance, variables).unwrap(), PathBuf::from(expected));
        }
    }

    #[test]
    fn an_instance_needs_a_template_with_a_place_for_it() {
        let name = "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE";
        assert_eq!(path(None, "a", &[]), Err(Error::NoTemplate(name)));
        assert_eq!(path(Some("/flag"), "a", &[(name, "/t/s")]), Err(Error::NoPlace(name)));
    }
}
