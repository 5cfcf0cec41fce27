//! A target path as the kubelet writes it, taken apart. Pure text: nothing is looked up here.
//!
//! `<pods directory>/<pod uid>/volumes/kubernetes.io~csi/<volume>/mount` (kubernetes `pkg/volume/csi`).
//! Nothing else is ever mounted to, unmounted or removed.

use std::path::{Component, Path, PathBuf};

/// Linux' `PATH_MAX` without its closing zero.
const MAX_PATH_BYTES: usize = 4_095;
/// The name of every target in its directory.
pub(super) const LEAF: &str = "mount";
/// What the kubelet calls the directory of pods.
const PODS: &str = "pods";
/// From the directory of pods: uid, `volumes`, `kubernetes.io~csi`, volume, `mount`.
const DEPTH: usize = 5;

/// Where a volume is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As it was sent.
    pub(super) path: PathBuf,
    /// The kubelet's directory of pods.
    pub(super) pods: PathBuf,
    /// From there to the directory that holds the target.
    pub(super) parent: PathBuf,
}

/// A target path that the kubelet would not have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("target path has {bytes} bytes, expected at most {MAX_PATH_BYTES}")]
    TooLong { bytes: usize },
    #[error("target path {0:?} is not absolute or contains \"..\" or a zero byte")]
    Malformed(String),
    #[error(
        "target path {0:?} is none of a CSI volume, \
         expected <kubelet>/pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount"
    )]
    Shape(String),
    #[error("target path {path:?} is outside of {}", pods.display())]
    Outside { path: String, pods: PathBuf },
}

impl Target {
    /// Takes `text` apart. With `pods_dir` it must lie there.
    pub(super) fn parse(text: &str, pods_dir: Option<&Path>) -> Result<Self, TargetError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(TargetError::TooLong { bytes: text.len() });
        }
        let path = Path::new(text);
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(is_plain) || text.contains('\0') {
            return Err(TargetError::Malformed(text.to_owned()));
        }
        let pods = path.ancestors().nth(DEPTH).filter(|_| has_shape(path));
        let pods = pods.ok_or_else(|| TargetError::Shape(text.to_owned()))?;
        let is_inside = match pods_dir {
            Some(expected) => pods == expected,
            None => pods.ends_with(PODS),
        };
        let below = path.parent().and_then(|parent| parent.strip_prefix(pods).ok());
        match below {
            Some(parent) if is_inside => {
                Ok(Self { path: path.to_owned(), pods: pods.to_owned(), parent: parent.to_owned() })
            }
            _ => {
                let expected = pods_dir.unwrap_or(Path::new("a directory named pods"));
                Err(TargetError::Outside { path: text.to_owned(), pods: expected.to_owned() })
            }
        }
    }
}

/// Whether the last five names are those of a CSI volume.
fn has_shape(path: &Path) -> bool {
    let mut names = path.components().rev().map(Component::as_os_str);
    let mut is_next = |name: &str| names.next().is_some_and(|next| next == name);
    let is_leaf = is_next(LEAF);
    let _volume = names.next();
    let mut is_next = |name: &str| names.next().is_some_and(|next| next == name);
    is_leaf && is_next("kubernetes.io~csi") && is_next("volumes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "/var/lib/kubelet/pods/3c1b/volumes/kubernetes.io~csi/workload-socket/mount";

    #[test]
    fn what_a_kubelet_writes_is_taken_apart() {
        for pods in [None, Some("/var/lib/kubelet/pods"), Some("/var/lib/kubelet/pods/")] {
            let target = Target::parse(GOOD, pods.map(Path::new)).unwrap();
            assert_eq!(target.pods, Path::new("/var/lib/kubelet/pods"));
            let parent = "3c1b/volumes/kubernetes.io~csi/workload-socket";
            assert_eq!(target.parent, Path::new(parent));
        }
        let elsewhere = GOOD.replace("/var/lib", "/var/lib/k0s");
        assert!(Target::parse(&elsewhere, None).is_ok());
        assert!(Target::parse(&format!("{GOOD}/"), None).is_ok(), "the same directory");
    }

    #[test]
    fn what_no_kubelet_writes_is_refused() {
        let refused = |text: &str| Target::parse(text, None).unwrap_err().to_string();
        for text in ["mount", &GOOD[1..], &GOOD.replace("pods/3c1b", "pods/../3c1b")] {
            assert!(refused(text).contains("not absolute"), "{text}");
        }
        assert!(refused(&GOOD.replace("3c1b", "3\0c")).contains("zero byte"));
        for text in [
            "/",
            "/etc",
            "/pods/u/volumes/kubernetes.io~csi/mount",
            &GOOD.replace("~csi", "~empty-dir"),
            &GOOD.replace("/mount", "/other"),
            &format!("{GOOD}/below"),
        ] {
            assert!(refused(text).contains("none of a CSI volume"), "{text}");
        }
        let long = GOOD.replace("3c1b", &"x".repeat(5_000));
        assert!(refused(&long).starts_with("target path has 5"));
    }

    #[test]
    fn a_target_outside_of_the_pods_directory_is_refused() {
        let outside = |text: &str, pods: Option<&str>| {
            matches!(Target::parse(text, pods.map(Path::new)), Err(TargetError::Outside { .. }))
        };
        assert!(outside(GOOD, Some("/var/lib/kubelet")));
        assert!(outside(GOOD, Some("/var/lib/kubelet/pods/3c1b")));
        assert!(outside(&GOOD.replace("/pods/", "/plugins/"), None));
    }
}
