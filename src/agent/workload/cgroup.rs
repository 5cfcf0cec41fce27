//! Which container a process runs in, as the paths of its control groups say.
//!
//! Reads `/proc/PID/cgroup` and nothing else: a mount table can be forged. The pod that counts is
//! the outermost one below what the agent and the process have in common, and its container the group
//! directly below: whoever may make groups makes them below its own container, whatever it calls them
//! . Knows nothing of what the kubelet lists.

use std::fmt;

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The pod, where the runtime puts it into the path; CRI-O under some kubelets does not.
    pub pod: Option<PodUid>,
    /// The container.
    pub id: ContainerId,
}

/// A pod's UID as the kubelet lists it: a UUID, or the hash of a static pod's configuration.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PodUid(String);

/// A container's id: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

/// Paths that name more than one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CgroupError {
    /// The hierarchies disagree about the pod (SPIRE's words).
    #[error("multiple pod UIDs found in cgroups ({0}, {1})")]
    Pods(PodUid, PodUid),
    /// The hierarchies disagree about the container (SPIRE's words).
    #[error("multiple container IDs found in cgroups ({0}, {1})")]
    Containers(ContainerId, ContainerId),
    /// Not what proc(5) describes.
    #[error("line {0:?} of the cgroup file has no three fields, expected id:controllers:path")]
    Line(String),
}

/// What the groups of container runtimes are called: the id alone, or with what made it.
const RUNTIMES: [&str; 5] = ["", "cri-containerd-", "crio-", "docker-", "libpod-"];
const CONTAINER_ID_DIGITS: usize = 64;
/// Digits of a UUID between its separators, and of a static pod's UID.
const UUID_DIGITS: [usize; 5] = [8, 4, 4, 4, 12];
const STATIC_UID_DIGITS: usize = 32;

impl Container {
    /// The container of a process whose cgroup file holds `theirs`; nothing when it runs in none. `own`
    /// is the agent's cgroup file: what both paths begin with (a node that is a container itself) says
    /// nothing about the process.
    ///
    /// # Errors
    /// When the hierarchies disagree, or the file is none.
    pub fn locate(theirs: &[u8], own: &[u8]) -> Result<Option<Self>, CgroupError> {
        let own = String::from_utf8_lossy(own);
        let own: Vec<_> = own.lines().flat_map(Line::parse).collect();
        let mut found: Option<Found<'_>> = None;
        let theirs = String::from_utf8_lossy(theirs);
        for text in theirs.lines() {
            let line = Line::parse(text)?;
            let ours = own.iter().find(|ours| ours.hierarchy == line.hierarchy);
            let place = Found::on(&line.below(ours));
            found = Found::merge(found, place)?;
        }
        Ok(found.and_then(Found::container))
    }
}

/// One hierarchy and the process's path in it.
struct Line<'a> {
    hierarchy: &'a str,
    segments: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Result<Self, CgroupError> {
        let mut fields = text.splitn(3, ':').skip(1);
        let (Some(hierarchy), Some(path)) = (fields.next(), fields.next()) else {
            return Err(CgroupError::Line(text.to_owned()));
        };
        // From within a cgroup namespace, what is outside of it begins with steps upwards.
        let segments = path.split('/').filter(|segment| !matches!(*segment, "" | "..")).collect();
        Ok(Self { hierarchy, segments })
    }

    /// The segments below those that it shares with the agent's path, whose own pod is never shared.
    fn below(&self, own: Option<&Line<'_>>) -> Vec<&'a str> {
        let own = own.map_or(&[][..], |own| &own.segments);
        let pod = own.iter().rposition(|segment| PodUid::within(segment).is_some());
        let shareable = own.get(..pod.unwrap_or(own.len())).unwrap_or_default();
        let shared = shareable.iter().zip(&self.segments).take_while(|(a, b)| a == b).count();
        self.segments.get(shared..).unwrap_or_default().to_vec()
    }
}

/// What one hierarchy says.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// A pod, and a container if the process is in one of the pod's.
    Pod(&'a str, Option<&'a str>),
    /// A container of an unknown pod.
    Container(&'a str),
}

impl<'a> Found<'a> {
    fn on(segments: &[&'a str]) -> Option<Self> {
        let pod = segments
            .iter()
            .enumerate()
            .find_map(|(at, segment)| PodUid::within(segment).map(|(uid, rest)| (at, uid, rest)));
        let Some((at, uid, rest)) = pod else {
            return segments.iter().find_map(|segment| container_id(segment)).map(Self::Container);
        };
        // Under systemd without delegation both are in one name, `….slice:cri-containerd:ID`.
        let joined = rest.rsplit_once(':').and_then(|(_, last)| container_id(last));
        let below = || segments.get(at + 1).and_then(|segment| container_id(segment));
        Some(Self::Pod(uid, joined.or_else(below)))
    }

    fn merge(before: Option<Self>, now: Option<Self>) -> Result<Option<Self>, CgroupError> {
        let containers = |a: &str, b: &str| CgroupError::Containers(id(a), id(b));
        let merged = match (before, now) {
            (Some(Self::Pod(a, _)), Some(Self::Pod(b, _))) if !is_same_pod(a, b) => {
                return Err(CgroupError::Pods(PodUid::of(a), PodUid::of(b)));
            }
            (Some(Self::Pod(_, Some(a))), Some(Self::Pod(_, Some(b)))) if a != b => {
                return Err(containers(a, b));
            }
            (Some(Self::Container(a)), Some(Self::Container(b))) if a != b => {
                return Err(containers(a, b));
            }
            (Some(pod @ Self::Pod(_, Some(_))), _) | (Some(pod @ Self::Pod(..)), None) => Some(pod),
            (Some(pod @ Self::Pod(..)), Some(Self::Container(_))) => Some(pod),
            (before, now) => now.or(before),
        };
        Ok(merged)
    }

    fn container(self) -> Option<Container> {
        match self {
            Self::Pod(uid, Some(container)) => {
                Some(Container { pod: Some(PodUid::of(uid)), id: id(container) })
            }
            // A helper of the runtime, or something that the kubelet itself runs there.
            Self::Pod(_, None) => None,
            Self::Container(container) => Some(Container { pod: None, id: id(container) }),
        }
    }
}

fn id(digits: &str) -> ContainerId {
    ContainerId(digits.to_owned())
}

/// The id of the container that a group of this name is made for. Groups for a runtime's helpers, such
/// as `crio-conmon-ID.scope`, are none.
fn container_id(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    RUNTIMES.iter().find_map(|runtime| {
        let id = name.strip_prefix(runtime)?;
        (id.len() == CONTAINER_ID_DIGITS && is_hex(id)).then_some(id)
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_hexdigit())
}

fn is_same_pod(a: &str, b: &str) -> bool {
    PodUid::of(a) == PodUid::of(b)
}

impl PodUid {
    /// A UID as a path has it: systemd's names have underscores in place of dashes.
    fn of(text: &str) -> Self {
        Self(text.replace('_', "-"))
    }

    /// The UID in a name such as `podUID` or `kubepods-burstable-podUID.slice`, and what follows it.
    fn within(segment: &str) -> Option<(&str, &str)> {
        segment.match_indices("pod").find_map(|(at, pod)| {
            let (before, after) = (segment.get(..at)?, segment.get(at + pod.len()..)?);
            let uid = after.get(..uid_length(after)?)?;
            let rest = after.get(uid.len()..)?;
            let is_word =
                |text: Option<char>| text.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let is_alone = !is_word(before.chars().next_back()) && !is_word(rest.chars().next());
            is_alone.then_some((uid, rest))
        })
    }

    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much of the beginning of `text` is a pod's UID.
fn uid_length(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    if digits == STATIC_UID_DIGITS {
        return Some(digits);
    }
    let mut length = 0;
    for (part, digits) in UUID_DIGITS.into_iter().enumerate() {
        if part > 0 {
            matches!(text.as_bytes().get(length)?, b'-' | b'_').then_some(())?;
            length += 1;
        }
        is_hex(text.get(length..length + digits)?).then_some(())?;
        length += digits;
    }
    Some(length)
}

impl ContainerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
