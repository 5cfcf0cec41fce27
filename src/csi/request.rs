//! Whether a request of the kubelet is one that this driver serves, judged in upstream's order and words
//! (spiffe-csi 0.2.12: `pkg/driver/driver.go`), and which pod it is for.

use crate::{
    transport::status::shortened,
    wire::proto::csi::v1::{
        NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
        volume_capability::{AccessType, access_mode::Mode},
    },
};
use std::collections::HashMap;

const PREFIX: &str = "csi.storage.k8s.io/";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("request missing required volume id")]
    VolumeId,
    #[error("request missing required target path")]
    TargetPath,
    #[error("request missing required volume capability")]
    Capability,
    #[error("request missing required volume capability access type")]
    AccessType,
    #[error("request volume capability access type must be a simple mount")]
    NotASimpleMount,
    #[error("request missing required volume capability access mode")]
    AccessMode,
    #[error("request volume capability access mode is not valid")]
    ReaderOnly,
    #[error("pod.spec.volumes[].csi.readOnly must be set to 'true'")]
    Writable,
    #[error("only ephemeral volumes are supported")]
    NotEphemeral,
}

/// Judges a publish.
pub(super) fn publish(request: &NodePublishVolumeRequest) -> Result<(), RequestError> {
    volume(&request.volume_id, &request.target_path)?;
    let capability = request.volume_capability.as_ref().ok_or(RequestError::Capability)?;
    match capability.access_type.as_ref().ok_or(RequestError::AccessType)? {
        AccessType::Mount(mount) if mount.fs_type.is_empty() && mount.mount_flags.is_empty() => {}
        AccessType::Mount(_) | AccessType::Block(_) => return Err(RequestError::NotASimpleMount),
    }
    let mode = capability.access_mode.as_ref().ok_or(RequestError::AccessMode)?;
    if mode.mode == i32::from(Mode::SingleNodeReaderOnly) {
        return Err(RequestError::ReaderOnly);
    }
    if !request.readonly {
        return Err(RequestError::Writable);
    }
    match said(&request.volume_context, "ephemeral") {
        "true" => Ok(()),
        _ => Err(RequestError::NotEphemeral),
    }
}

/// Judges an unpublish.
pub(super) fn unpublish(request: &NodeUnpublishVolumeRequest) -> Result<(), RequestError> {
    volume(&request.volume_id, &request.target_path)
}

fn volume(id: &str, target_path: &str) -> Result<(), RequestError> {
    if id.is_empty() {
        return Err(RequestError::VolumeId);
    }
    if target_path.is_empty() {
        return Err(RequestError::TargetPath);
    }
    Ok(())
}

/// Whom a volume is for, as the kubelet says it (`podInfoOnMount`). The only part of the volume's context
/// that is ever logged: the rest may hold tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) service_account: String,
}

impl Pod {
    /// The pod of a volume; parts that the kubelet does not tell are empty.
    pub(super) fn of(context: &HashMap<String, String>) -> Self {
        let text = |key| shortened(said(context, key)).to_owned();
        Self {
            namespace: text("pod.namespace"),
            name: text("pod.name"),
            uid: text("pod.uid"),
            service_account: text("serviceAccount.name"),
        }
    }
}

fn said<'a>(context: &'a HashMap<String, String>, key: &str) -> &'a str {
    context.get(&format!("{PREFIX}{key}")).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::csi::v1::{
        VolumeCapability,
        volume_capability::{AccessMode, BlockVolume, MountVolume},
    };

    fn good() -> NodePublishVolumeRequest {
        NodePublishVolumeRequest {
            volume_id: "csi-1".into(),
            target_path: "/t".into(),
            volume_capability: Some(VolumeCapability {
                access_type: Some(AccessType::Mount(MountVolume::default())),
                access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            }),
            readonly: true,
            volume_context: HashMap::from([(format!("{PREFIX}ephemeral"), "true".into())]),
        }
    }

    fn with(change: impl FnOnce(&mut NodePublishVolumeRequest)) -> Result<(), RequestError> {
        let mut request = good();
        change(&mut request);
        publish(&request)
    }

    fn with_capability(change: impl FnOnce(&mut VolumeCapability)) -> Result<(), RequestError> {
        with(|request| change(request.volume_capability.as_mut().unwrap()))
    }

    #[test]
    fn what_is_missing_is_told_in_upstreams_order() {
        let mut request = NodePublishVolumeRequest::default();
        let mut told = Vec::new();
        while let Err(error) = publish(&request) {
            let good = good();
            match error {
                RequestError::VolumeId => request.volume_id = good.volume_id,
                RequestError::TargetPath => request.target_path = good.target_path,
                RequestError::Capability => {
                    request.volume_capability = Some(VolumeCapability::default())
                }
                RequestError::AccessType => {
                    let block = AccessType::Block(BlockVolume {});
                    request.volume_capability.as_mut().unwrap().access_type = Some(block);
                }
                RequestError::NotASimpleMount => {
                    let mount = AccessType::Mount(MountVolume::default());
                    request.volume_capability.as_mut().unwrap().access_type = Some(mount);
                }
                RequestError::AccessMode => {
                    let mode = AccessMode { mode: Mode::SingleNodeReaderOnly.into() };
                    request.volume_capability.as_mut().unwrap().access_mode = Some(mode);
                }
                RequestError::ReaderOnly => request.volume_capability = good.volume_capability,
                RequestError::Writable => request.readonly = true,
                RequestError::NotEphemeral => request.volume_context = good.volume_context,
            }
            told.push(error.to_string());
        }
        assert_eq!(
            told,
            [
                "request missing required volume id",
                "request missing required target path",
                "request missing required volume capability",
                "request missing required volume capability access type",
                "request volume capability access type must be a simple mount",
                "request missing required volume capability access mode",
                "request volume capability access mode is not valid",
                "pod.spec.volumes[].csi.readOnly must be set to 'true'",
                "only ephemeral volumes are supported",
            ]
        );
    }

    #[test]
    fn a_mount_with_a_file_system_or_flags_is_not_simple() {
        let mount = |mount| with_capability(|c| c.access_type = Some(AccessType::Mount(mount)));
        let fs_type = MountVolume { fs_type: "ext4".into(), ..MountVolume::default() };
        assert_eq!(mount(fs_type), Err(RequestError::NotASimpleMount));
        let flags = MountVolume { mount_flags: vec!["rw".into()], ..MountVolume::default() };
        assert_eq!(mount(flags), Err(RequestError::NotASimpleMount));
    }

    #[test]
    fn every_access_mode_but_one_is_good_and_ephemeral_is_a_word() {
        for mode in [0, 1, 3, 4, 5, 6, 7, 99] {
            let access = Some(AccessMode { mode });
            assert_eq!(with_capability(|c| c.access_mode = access), Ok(()), "{mode}");
        }
        for word in ["", "True", "1", "false"] {
            let context = HashMap::from([(format!("{PREFIX}ephemeral"), word.to_owned())]);
            let said = with(|request| request.volume_context = context);
            assert_eq!(said, Err(RequestError::NotEphemeral), "{word}");
        }
    }

    #[test]
    fn of_the_context_only_the_pod_is_kept() {
        let context = [("pod.name", "web-0"), ("pod.namespace", "shop"), ("pod.uid", "3c1b")]
            .into_iter()
            .chain([("serviceAccount.name", "web"), ("serviceAccount.tokens", "secret")])
            .map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()))
            .collect();
        let pod = Pod::of(&context);
        assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "web-0"));
        assert!(!format!("{pod:?}").contains("secret"));
    }
}
