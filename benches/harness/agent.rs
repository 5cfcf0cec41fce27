//! An agent under test.

use super::{
    admin::Invitation,
    process::Process,
    product::Product,
    server::{TRUST_DOMAIN, free_port},
};
use anyhow::{Context, ensure};
use finial::testing::grpc::settings_latency;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A running agent.
pub(crate) struct Agent {
    /// The process.
    pub(crate) process: Process,
    /// Where workloads connect.
    pub(crate) socket: PathBuf,
    _folder: TempDir,
}

/// What an agent tells workloads apart by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WorkloadsBy {
    /// Their user and groups.
    User,
    /// The program that they run, too.
    Program,
}

impl Agent {
    /// Starts an agent of the server on `port` and waits until its socket answers.
    pub(crate) async fn join(
        product: &Product,
        port: u16,
        invitation: &Invitation,
        by: WorkloadsBy,
    ) -> anyhow::Result<Self> {
        Self::start(product, port, &invitation.token, by).await
    }

    /// Starts an agent of finial whose server nobody has ever reached, and waits until its socket answers.
    pub(crate) async fn without_server() -> anyhow::Result<Self> {
        let (product, by) = (&Product::Finial, WorkloadsBy::User);
        Self::start(product, free_port()?, "a-token-that-nobody-asks-for", by).await
    }

    async fn start(
        product: &Product,
        port: u16,
        token: &str,
        by: WorkloadsBy,
    ) -> anyhow::Result<Self> {
        // In memory, where the agent leaves its SVIDs for the next one: so they go with the folder.
        let folder = tempfile::Builder::new().prefix("finial-").tempdir_in("/dev/shm")?;
        let socket = folder.path().join("agent.sock");
        let config = folder.path().join("agent.conf");
        fs::write(&config, configuration(product, port, &socket, folder.path(), token, by))?;
        let args = ["run", "-config", config.to_str().context("a temporary path that is UTF-8")?];
        let log = folder.path().join("agent.log");
        let mut process = Process::start(product, "spire-agent", &args, &log)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while settings_latency(&socket).await.is_err() {
            process.check_alive()?;
            ensure!(Instant::now() < deadline, "no answer on the socket: {}", process.said());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { process, socket, _folder: folder })
    }
}

fn configuration(
    product: &Product,
    port: u16,
    socket: &Path,
    data: &Path,
    token: &str,
    by: WorkloadsBy,
) -> String {
    let unix = match by {
        WorkloadsBy::User => "",
        WorkloadsBy::Program => "discover_workload_path = true",
    };
    format!(
        r#"agent {{
    server_address = "127.0.0.1"
    server_port = {port}
    socket_path = "{}"
    trust_domain = "{TRUST_DOMAIN}"
    data_dir = "{}"
    log_level = "WARN"
    insecure_bootstrap = true
    join_token = "{token}"
    x509_svid_cache_max_size = 10000
    {limits}
}}
plugins {{
    KeyManager "memory" {{
        plugin_data {{}}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
    WorkloadAttestor "unix" {{
        plugin_data {{ {unix} }}
    }}
}}
"#,
        socket.display(),
        data.display(),
        limits = product.agent_limits(),
    )
}
