//! What the driver is told at its start. Flags become it in `cli`; nothing else is read.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The names and defaults of spiffe-csi 0.2.12: `cmd/spiffe-csi-driver/main.go`.
pub mod default {
    /// `-node-id-env`
    pub const NODE_ID_ENV: &str = "MY_NODE_NAME";
    /// `-csi-socket-path`
    pub const CSI_SOCKET_PATH: &str = "/spiffe-csi/csi.sock";
    /// Ours: the node's files as its first process sees them, which a pod with `hostPID` is shown.
    pub const NODE_ROOT: &str = "/proc/1/root";
    /// `-plugin-name`
    pub const PLUGIN_NAME: &str = "csi.spiffe.io";
}

/// CSI specification, `GetPluginInfoResponse.name`.
const MAX_NAME_BYTES: usize = 63;

/// A driver's settings as they were given.
#[derive(Clone, Debug)]
pub struct RawCsi {
    /// The node's name; empty if it is not known.
    pub node_id: String,
    /// The driver's name.
    pub plugin_name: String,
    /// Where the kubelet calls.
    pub csi_socket_path: String,
    /// The directory of the agent's sockets; empty if not given.
    pub socket_dir: String,
    /// The kubelet's directory of pods; empty if it may be anywhere.
    pub pods_dir: String,
    /// Where the node's files are seen.
    pub node_root: String,
    /// The directory in which the kubelet looks for plugins; empty if another program registers this one.
    pub registration_dir: String,
    /// The CSI socket as the kubelet sees it; empty if that is where we see it.
    pub endpoint: String,
    /// Where the HTTP pages are; empty for none. Without a host: on every IPv4 address.
    pub http: String,
}

/// What a driver needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsiConfig {
    /// The node's name.
    pub node_id: String,
    /// The driver's name, under which pods ask for its volumes.
    pub plugin_name: String,
    /// Where the kubelet calls.
    pub csi_socket_path: PathBuf,
    /// The directory of the agent's sockets, which pods get.
    pub socket_dir: PathBuf,
    /// The kubelet's directory of pods. `None`: it is read off each target path.
    pub pods_dir: Option<PathBuf>,
    /// Where the node's files are seen by the names that the node has for them.
    pub node_root: PathBuf,
    /// How to register, unless another program does.
    pub registration: Option<Registration>,
    /// Where the HTTP pages are.
    pub http: Option<SocketAddr>,
}

/// How the driver makes itself known to the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The socket that the kubelet finds.
    pub socket_path: PathBuf,
    /// The CSI socket as the kubelet sees it.
    pub endpoint: String,
}

/// Settings that no driver can work with. The first two texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nobody said which node this is.
    #[error("node ID is required")]
    NodeId,
    /// Nobody said what to mount.
    #[error("workload API socket directory is required")]
    SocketDir,
    /// The driver's name cannot be one.
    #[error(
        "plugin name {0:?} is not usable, expected at most {MAX_NAME_BYTES} letters, digits, dots and dashes, \
         a letter or digit first and last"
    )]
    PluginName(String),
    /// A path would mean something else after a change of the working directory.
    #[error("-{flag} is {path:?}, expected an absolute path")]
    Relative {
        /// The flag.
        flag: &'static str,
        /// Its value.
        path: String,
    },
    /// The address of the pages.
    #[error(
        "-http-endpoint is {0:?}, expected an IP address and a port such as 127.0.0.1:8080 or :8080"
    )]
    Http(String),
}

impl RawCsi {
    /// Checks everything that can be checked without looking at the machine.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(self) -> Result<CsiConfig, ConfigError> {
        if self.node_id.is_empty() {
            return Err(ConfigError::NodeId);
        }
        if self.socket_dir.is_empty() {
            return Err(ConfigError::SocketDir);
        }
        if !is_plugin_name(&self.plugin_name) {
            return Err(ConfigError::PluginName(self.plugin_name));
        }
        let csi_socket_path = absolute("csi-socket-path", self.csi_socket_path)?;
        let given = |path: &str| (!path.is_empty()).then(|| path.to_owned());
        let registration = match given(&self.registration_dir) {
            None => None,
            Some(dir) => {
                let dir = absolute("plugin-registration-path", dir)?;
                let endpoint = match given(&self.endpoint) {
                    Some(endpoint) => absolute("kubelet-registration-path", endpoint)?,
                    None => csi_socket_path.clone(),
                };
                // node-driver-registrar: `cmd/csi-node-driver-registrar/node_register.go`.
                let socket_path = dir.join(format!("{}-reg.sock", self.plugin_name));
                Some(Registration { socket_path, endpoint: endpoint.display().to_string() })
            }
        };
        Ok(CsiConfig {
            node_id: self.node_id,
            plugin_name: self.plugin_name,
            csi_socket_path,
            socket_dir: absolute("workload-api-socket-dir", self.socket_dir)?,
            pods_dir: given(&self.pods_dir)
                .map(|path| absolute("kubelet-pods-dir", path))
                .transpose()?,
            node_root: absolute("node-root", self.node_root)?,
            registration,
            http: given(&self.http).map(address).transpose()?,
        })
    }
}

fn absolute(flag: &'static str, path: String) -> Result<PathBuf, ConfigError> {
    if Path::new(&path).is_absolute() {
        return Ok(path.into());
    }
    Err(ConfigError::Relative { flag, path })
}

/// CSI specification: a domain name. It also becomes the name of a file.
fn is_plugin_name(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= MAX_NAME_BYTES
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte))
}

fn address(text: String) -> Result<SocketAddr, ConfigError> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.clone() };
    full.parse().map_err(|_| ConfigError::Http(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawCsi {
        RawCsi {
            node_id: "node-1".into(),
            plugin_name: default::PLUGIN_NAME.into(),
            csi_socket_path: default::CSI_SOCKET_PATH.into(),
            socket_dir: "/spire-agent-socket".into(),
            pods_dir: String::new(),
            node_root: default::NODE_ROOT.into(),
            registration_dir: String::new(),
            endpoint: String::new(),
            http: String::new(),
        }
    }

    #[test]
    fn the_flags_of_upstream_are_enough() {
        let config = raw().validate().unwrap();
        assert_eq!((config.registration, config.pods_dir, config.http), (None, None, None));
    }

    #[test]
    fn a_driver_that_registers_itself_says_where_the_kubelet_sees_its_socket() {
        let registered = |endpoint: &str| {
            let registration_dir = "/registration".into();
            let raw = RawCsi { registration_dir, endpoint: endpoint.into(), ..raw() };
            raw.validate().unwrap().registration.unwrap()
        };
        let path = "/registration/csi.spiffe.io-reg.sock";
        assert_eq!(registered("").socket_path, Path::new(path));
        assert_eq!(registered("").endpoint, default::CSI_SOCKET_PATH);
        let host = "/var/lib/kubelet/plugins/csi.spiffe.io/csi.sock";
        assert_eq!(registered(host).endpoint, host);
    }

    #[test]
    fn a_port_without_a_host_is_on_every_address() {
        let at = |http: &str| RawCsi { http: http.into(), ..raw() }.validate().map(|c| c.http);
        assert_eq!(at(":8080"), Ok(Some("0.0.0.0:8080".parse().unwrap())));
        assert_eq!(at("[::1]:80"), Ok(Some("[::1]:80".parse().unwrap())));
        assert_eq!(at("localhost"), Err(ConfigError::Http("localhost".into())));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_in_words() {
        let refused = |raw: RawCsi| raw.validate().unwrap_err().to_string();
        let none = String::new;
        assert_eq!(refused(RawCsi { node_id: none(), ..raw() }), "node ID is required");
        assert_eq!(
            refused(RawCsi { socket_dir: none(), ..raw() }),
            "workload API socket directory is required"
        );
        for name in ["", "../evil", "a/b", ".hidden", "a b", &"a".repeat(64)] {
            let text = refused(RawCsi { plugin_name: name.into(), ..raw() });
            assert!(text.starts_with("plugin name "), "{text}");
        }
        let text = refused(RawCsi { pods_dir: "pods".into(), ..raw() });
        assert_eq!(text, "-kubelet-pods-dir is \"pods\", expected an absolute path");
    }
}
