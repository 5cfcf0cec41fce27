//! An Envoy as a child process: started with a configuration, waited for, ended.

use super::{Admin, Sidecar, leash::Leash};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// A running Envoy. Dropping it kills the process.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: Admin,
    log: PathBuf,
    name: String,
}

/// Why an Envoy does not run.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// Its configuration could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start {}", path.display())]
    Start {
        /// Which program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended by itself.
    #[error("envoy {name:?} ended with {status}; its log {} ends with: {last_line}", log.display())]
    Ended {
        /// Which one.
        name: String,
        /// How.
        status: ExitStatus,
        /// Where its log is.
        log: PathBuf,
        /// The end of its log.
        last_line: String,
    },
    /// It waits for something.
    #[error("envoy {name:?} is not ready after {} s; see its log {}", after.as_secs(), log.display())]
    NotReady {
        /// Which one.
        name: String,
        /// How long it was waited for.
        after: Duration,
        /// Where its log is.
        log: PathBuf,
    },
    /// Its process cannot be watched.
    #[error("cannot watch envoy {name:?}")]
    Watch {
        /// Which one.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// The program that is to be started.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// The Envoy binary under the path that attestation sees.
    pub binary: &'a Path,
    /// What keeps it from outliving this process.
    pub leash: Option<&'a Leash>,
    /// Where its configuration and log go.
    pub directory: &'a Path,
}

/// Envoy looks at its sockets every few milliseconds while it starts; so do we.
const POLL: Duration = Duration::from_millis(5);
/// Envoy ends within milliseconds; one that does not is killed.
const GRACE: Duration = Duration::from_secs(5);

impl Envoy {
    /// Starts an Envoy. Nothing is waited for.
    ///
    /// # Errors
    /// When its configuration cannot be written or the program not started.
    pub fn start(program: &Program<'_>, sidecar: &Sidecar) -> Result<Self, EnvoyError> {
        let file = |end: &str| program.directory.join(format!("{}.{end}", sidecar.name));
        let (config, log) = (file("json"), file("log"));
        let text = format!("{:#}\n", sidecar.bootstrap());
        fs::write(&config, text)
            .map_err(|source| EnvoyError::Write { path: config.clone(), source })?;
        // A socket file of an earlier run would keep Envoy from binding.
        drop(fs::remove_file(&sidecar.admin_socket));
        let mut command = match program.leash {
            Some(leash) => Command::from(leash.command(program.binary)),
            None => Command::new(program.binary),
        };
        command
            .arg("-c")
            .arg(&config)
            .arg("--log-path")
            .arg(&log)
            .args(["--disable-hot-restart", "--concurrency", "1"])
            .args(["-l", "warning", "--component-log-level", "config:debug,secret:debug"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for the parent, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|source| EnvoyError::Start { path: program.binary.to_owned(), source })?;
        let admin = Admin::new(&sidecar.admin_socket);
        Ok(Self { child, admin, log, name: sidecar.name.clone() })
    }

    /// Waits until Envoy has its secrets and accepts connections. Dropping it is safe.
    ///
    /// # Errors
    /// When it has ended, or is still not ready after `patience`.
    pub async fn ready(&mut self, patience: Duration) -> Result<(), EnvoyError> {
        let deadline = Instant::now() + patience;
        while !self.admin.is_ready().await {
            self.alive()?;
            if Instant::now() >= deadline {
                let (name, log) = (self.name.clone(), self.log.clone());
                return Err(EnvoyError::NotReady { name, after: patience, log });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Checks that the process runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn alive(&mut self) -> Result<(), EnvoyError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(EnvoyError::Ended {
                name: self.name.clone(),
                status,
                log: self.log.clone(),
                last_line: last_line(&self.log),
            }),
            Err(source) => Err(EnvoyError::Watch { name: self.name.clone(), source }),
        }
    }

    /// Its admin interface.
    #[must_use]
    pub const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, as long as it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    /// Ends the process and waits for it: politely first.
    pub async fn stop(mut self) {
        if let Some(pid) = self.pid() {
            // It may have ended meanwhile, which is what was wanted.
            let _gone = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

/// The last line of a log; Envoy writes there why it does not start.
fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("(nothing)").trim().to_owned()
}
