//! Control groups, as a container runtime makes them. Making them needs root.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A group in the unified hierarchy, below one of this test's own. Dropping it removes both, if their
/// processes have ended.
#[derive(Debug)]
pub struct ControlGroup {
    root: PathBuf,
    group: PathBuf,
}

impl ControlGroup {
    /// Makes the group `path`, such as `kubepods/podUID/ID`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "control groups are made: run as root");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = unified().join(format!("finial-test-{}-{count}", std::process::id()));
        let group = root.join(path);
        fs::create_dir_all(&group).unwrap();
        Self { root, group }
    }

    /// Writing a process id to this file puts the process into the group.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// Puts the process into a group below, which is made.
    pub fn enter_below(&self, path: &str, pid: u32) {
        let group = self.group.join(path);
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A process of it that still runs keeps it: then there is something to see.
        let _removed = remove(&self.root);
    }
}

/// Removes a group and those below, which only `rmdir` can.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Where the unified hierarchy is mounted.
fn unified() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    mount.and_then(|line| line.split(' ').nth(1)).expect("no cgroup2 is mounted").into()
}
