//! A directory of the agent's sockets that outlives the agent's pod.
//!
//! Istio's quick start keeps the agent's sockets in an emptyDir, which goes with the agent's pod: pods that
//! had it mounted would look at a deleted directory for the rest of their lives. The folder of the CSI socket
//! stays, so pods get a directory in there, and each socket of the agent's has a second name in it: a hard
//! link, which names the same listener. A link must not cross mounts, and in this container each volume is
//! one, so both directories are opened as the node has them: below `node_root`.
//!
//! Knows nothing of volumes and of the kubelet's calls. One task follows the agent's directory.

use super::{CsiConfig, source::Identity};
use crate::runtime::{Shutdown, TaskSet};
use rustix::{
    fs::{
        self, AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags,
        inotify::{self, CreateFlags, WatchFlags},
    },
    io::Errno,
};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::unix::AsyncFd;

/// Where kubelets have their pods unless they are told otherwise.
const PODS_DIR: &str = "/var/lib/kubelet/pods";
const EMPTY_DIRS: &str = "volumes/kubernetes.io~empty-dir";
/// The directory beside the CSI socket.
const NAME: &str = "sockets";
/// A link on its way to its name. The kubelet and its users skip names with a dot.
const TEMPORARY: &str = ".finial-link";
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
/// Events say that something happened; what, is looked up.
const EVENT_BYTES: usize = 4_096;

/// The two directories, held open.
#[derive(Debug)]
pub(super) struct Lasting {
    /// What pods get.
    pub(super) path: PathBuf,
    agents: OwnedFd,
    ours: OwnedFd,
    watch: OwnedFd,
}

/// Why pods lose the agent when its pod is replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum LastingError {
    #[error("the folder of the CSI socket is not {} on the node", .0.display())]
    Folder(PathBuf),
    #[error("{}: {source}", path.display())]
    Unusable { path: PathBuf, source: Errno },
}

impl Lasting {
    /// Makes the directory and gives it the agent's sockets, if those are in an emptyDir; otherwise there is
    /// no need. Blocking.
    pub(super) fn beside(config: &CsiConfig) -> Result<Option<Self>, LastingError> {
        let pods = config.pods_dir.as_deref().unwrap_or(Path::new(PODS_DIR));
        let on_node = |path: &Path| config.node_root.join(path.strip_prefix("/").unwrap_or(path));
        let Some(agents) = empty_dir(&on_node(pods), &config.socket_dir) else { return Ok(None) };
        let plugins = pods.with_file_name("plugins").join(&config.plugin_name);
        let folder = config.csi_socket_path.with_file_name("");
        if identity(&on_node(&plugins)).ok() != Some(identity(&folder).map_err(unusable(&folder))?)
        {
            return Err(LastingError::Folder(plugins));
        }
        let ours = on_node(&plugins).join(NAME);
        match fs::mkdirat(CWD, &ours, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(unusable(&ours)(errno)),
        }
        // The process's mask may have taken from it what pods need.
        fs::chmodat(CWD, &ours, DIRECTORY_MODE, AtFlags::empty()).map_err(unusable(&ours))?;
        let lasting = Self {
            path: folder.join(NAME),
            watch: watch(&config.socket_dir).map_err(unusable(&config.socket_dir))?,
            agents: open(&agents).map_err(unusable(&agents))?,
            ours: open(&ours).map_err(unusable(&ours))?,
        };
        lasting.link().map_err(unusable(&ours))?;
        Ok(Some(lasting))
    }

    /// Follows the agent, which publishes its sockets anew whenever it starts, until shutdown.
    pub(super) async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let watch = match self.watch.try_clone().and_then(registered) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!(%error, "the agent's sockets are not followed; restart the driver");
                return;
            }
        };
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                changed = changed(&watch) => if let Err(error) = changed {
                    tracing::error!(%error, "the agent's sockets are followed no more; restart the driver");
                    return;
                }
            }
            let lasting = Arc::clone(&self);
            match TaskSet::blocking(move || lasting.link()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the agent's sockets are not linked"),
                Err(error) => tracing::warn!(%error, "the agent's sockets are not linked"),
            }
        }
    }

    /// Gives our directory every socket, and every link to one, that the agent's has. What the agent takes
    /// away stays: a name that nobody serves is refused at once, and a missing one is taken for no agent.
    fn link(&self) -> Result<(), Errno> {
        for entry in Dir::read_from(&self.agents)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            let done = match kind(self.agents.as_fd(), name) {
                Ok(FileType::Socket) => self.link_socket(name),
                Ok(FileType::Symlink) => self.copy_symlink(name),
                // Gone again, or nothing of an agent's.
                Ok(_) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            };
            match done {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn link_socket(&self, name: &CStr) -> Result<(), Errno> {
        if inode(self.ours.as_fd(), name).ok() == Some(inode(self.agents.as_fd(), name)?) {
            return Ok(());
        }
        self.remove_temporary();
        fs::linkat(&self.agents, name, &self.ours, TEMPORARY, AtFlags::empty())?;
        self.publish(name)
    }

    /// Only a name of the same directory means the same here.
    fn copy_symlink(&self, name: &CStr) -> Result<(), Errno> {
        let target = fs::readlinkat(&self.agents, name, Vec::new())?;
        let known = fs::readlinkat(&self.ours, name, Vec::new());
        if target.to_bytes().contains(&b'/') || known.is_ok_and(|known| known == target) {
            return Ok(());
        }
        self.remove_temporary();
        fs::symlinkat(target, &self.ours, TEMPORARY)?;
        self.publish(name)
    }

    fn publish(&self, name: &CStr) -> Result<(), Errno> {
        fs::renameat(&self.ours, TEMPORARY, &self.ours, name)?;
        tracing::info!(name = %name.to_string_lossy(), "the agent's socket is linked");
        Ok(())
    }

    /// What a driver that was killed has left.
    fn remove_temporary(&self) {
        let removed = fs::unlinkat(&self.ours, TEMPORARY, AtFlags::empty());
        tracing::trace!(left = removed.is_ok(), "temporary link");
    }
}

/// The emptyDir of a pod's that `directory` is.
fn empty_dir(pods: &Path, directory: &Path) -> Option<PathBuf> {
    let wanted = identity(directory).ok()?;
    let pods = std::fs::read_dir(pods).ok()?;
    let mut volumes = pods
        .flatten()
        .filter_map(|pod| std::fs::read_dir(pod.path().join(EMPTY_DIRS)).ok())
        .flat_map(Iterator::flatten);
    volumes
        .find(|volume| identity(&volume.path()).is_ok_and(|found| found == wanted))
        .map(|it| it.path())
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(CWD, path, flags, Mode::empty())
}

fn identity(path: &Path) -> Result<Identity, Errno> {
    fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .map(|found| Identity::of(&found))
}

fn inode(directory: BorrowedFd<'_>, name: &CStr) -> Result<Identity, Errno> {
    let found = fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    Ok(Identity::of(&found))
}

fn kind(directory: BorrowedFd<'_>, name: &CStr) -> Result<FileType, Errno> {
    let found = fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    Ok(FileType::from_raw_mode(found.stx_mode.into()))
}

fn unusable(path: &Path) -> impl Fn(Errno) -> LastingError {
    move |source| LastingError::Unusable { path: path.to_owned(), source }
}

fn watch(directory: &Path) -> Result<OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, directory, events)?;
    Ok(watch)
}

#[expect(
    deprecated,
    reason = "what takes its place is unsafe; a descriptor that is owned stays open, which is all it asks"
)]
fn registered(watch: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(watch)
}

/// Waits for events and reads them. Dropping it loses none.
async fn changed(watch: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut ready = watch.readable().await?;
    let mut events = [0; EVENT_BYTES];
    while let Ok(read) = ready.try_io(|watch| Ok(rustix::io::read(watch, &mut events)?)) {
        read?;
    }
    Ok(())
}
