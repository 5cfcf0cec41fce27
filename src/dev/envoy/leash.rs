//! Keeps a child from outliving this process, however it ends: the child is started by way of this
//! same program, which asks the kernel to be killed with its parent and then becomes the child.
//!
//! The kernel looks at the thread that started the child. So children are started on the main thread,
//! which lives as long as the process.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::{
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

/// The word after the program's name that leads to [`become_child`].
pub const WORD: &str = "dev-child";

/// This program, as it starts children.
#[derive(Clone, Debug)]
pub struct Leash {
    program: PathBuf,
}

/// Why no child came of it.
#[derive(Debug, thiserror::Error)]
pub enum LeashError {
    /// Called by somebody else than [`Leash::command`].
    #[error("{WORD} is how finial dev starts its children; it needs a process id and a program")]
    Usage,
    /// The parent has ended already.
    #[error("the parent, process {0}, has ended")]
    Orphan(u32),
    /// The kernel refuses.
    #[error("cannot become {program:?}")]
    Become {
        /// Which program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl Leash {
    /// Children are started by way of `program`, which is this one.
    #[must_use]
    pub const fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// A command that becomes `child`; its arguments follow.
    #[must_use]
    pub fn command(&self, child: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(WORD).arg(process::id().to_string()).arg(child);
        command
    }
}

/// Becomes the program that `arguments` name: the parent's process id, the program, what it is given.
/// Returns only when that fails.
///
/// # Errors
/// Always.
pub fn become_child(arguments: &[String]) -> Result<std::convert::Infallible, LeashError> {
    let [parent, program, arguments @ ..] = arguments else { return Err(LeashError::Usage) };
    let parent: u32 = parent.parse().map_err(|_| LeashError::Usage)?;
    let failed = |source| LeashError::Become { program: program.clone(), source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| failed(errno.into()))?;
    // It may have ended before the kernel was asked.
    let current = getppid().map(Pid::as_raw_pid);
    if current.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
        return Err(LeashError::Orphan(parent));
    }
    Err(failed(Command::new(program).args(arguments).exec()))
}
