use super::*;
use proptest::prelude::*;

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const OTHER_UID: &str = "00000000-1111-2222-3333-444444444444";
const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
const OTHER_ID: &str = "45490e76e0878aaa4d9808f7d2eefba37f093c3efbba9838b6d8ab804d9bd814";
/// Of an agent on the node, in no group of its own.
const ON_THE_NODE: &str = "0::/\n";

/// `U`, `V` stand for UIDs, `C`, `D` for container ids, `W` for the first UID with underscores.
fn path(pattern: &str) -> String {
    let word = |part: &str| match part {
        "<U>" => UID.to_owned(),
        "<V>" => OTHER_UID.to_owned(),
        "<W>" => UID.replace('-', "_"),
        "<C>" => ID.to_owned(),
        "<D>" => OTHER_ID.to_owned(),
        other => other.to_owned(),
    };
    let mut text = pattern.to_owned();
    for part in ["<U>", "<V>", "<W>", "<C>", "<D>"] {
        text = text.replace(part, &word(part));
    }
    text
}

fn locate(pattern: &str) -> Result<Option<Container>, CgroupError> {
    Container::locate(path(pattern).as_bytes(), ON_THE_NODE.as_bytes())
}

fn container(pod: Option<&str>, id: &str) -> Option<Container> {
    Some(Container { pod: pod.map(PodUid::of), id: super::id(id) })
}

#[test]
fn every_layout_names_its_pod_and_container() {
    for layout in [
        "/kubepods/burstable/pod<U>/<C>",
        "/kubepods/pod<U>/<C>/init.scope",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<W>.slice/cri-containerd-<C>.scope",
        "/kubepods.slice/kubepods-pod<W>.slice/docker-<C>.scope/init",
        "/kubepods.slice/kubepods-pod<W>.slice/crio-<C>.scope/container",
        "/system.slice/containerd.service/kubepods-burstable-pod<W>.slice:cri-containerd:<C>",
        "/docker/<D>/kubepods/besteffort/pod<U>/<C>",
        "/../../pod<U>/<C>",
        "/kubepods/burstable/pod<U>//<C>/",
    ] {
        assert_eq!(locate(&format!("0::{layout}")), Ok(container(Some(UID), ID)), "{layout}");
    }
}

#[test]
fn a_static_pod_is_named_by_its_hash() {
    let hash = UID.replace('-', "");
    let found = locate(&format!("0::/kubepods/burstable/pod{hash}/<C>"));
    assert_eq!(found, Ok(container(Some(&hash), ID)));
}

#[test]
fn a_container_of_an_unknown_pod_is_named_by_itself() {
    for layout in
        ["/../crio-<C>.scope", "/../crio-<C>.scope/container", "/machine.slice/libpod-<C>.scope"]
    {
        assert_eq!(locate(&format!("0::{layout}")), Ok(container(None, ID)), "{layout}");
    }
}

#[test]
fn what_is_in_no_container_is_nowhere() {
    for file in [
        "",
        "0::/\n",
        "0::/user.slice/user-0.slice/session-1.scope",
        "0::/system.slice/kubelet.service",
        "0::/kubepods/burstable/pod<U>",
        "0::/kubepods.slice/kubepods-pod<W>.slice/crio-conmon-<C>.scope",
        "0::/kubepods/pod<U>/<C>0",
        "0::/kubepods/pod<U>/x<C>",
        "0::/kubepods/pod<U>/<C> (deleted)",
        "0::/kubepods/tripod<U>/x",
    ] {
        assert_eq!(locate(file), Ok(None), "{file}");
    }
}

#[test]
fn groups_that_a_container_makes_within_its_own_name_nobody_else() {
    for forged in [
        "/kubepods/pod<U>/<C>/pod<V>/<D>",
        "/kubepods/pod<U>/<C>/x/kubepods-pod<V>.slice/cri-containerd-<D>.scope",
        "/kubepods.slice/kubepods-pod<W>.slice/cri-containerd-<C>.scope/<D>",
    ] {
        assert_eq!(locate(&format!("0::{forged}")), Ok(container(Some(UID), ID)), "{forged}");
    }
    // Not directly below the pod, so none of its containers: it is not looked for deeper.
    assert_eq!(locate("0::/kubepods/pod<U>/x/<C>"), Ok(None));
}

#[test]
fn what_the_agent_shares_with_the_process_says_nothing() {
    let own = path("0::/docker/<D>/kubepods/besteffort/pod<V>/<D>");
    let locate = |theirs: &str| Container::locate(path(theirs).as_bytes(), own.as_bytes());
    assert_eq!(locate("0::/docker/<D>/system.slice/kubelet.service"), Ok(None));
    assert_eq!(locate("0::/docker/<D>/kubepods/pod<U>/<C>"), Ok(container(Some(UID), ID)));
    // A cluster in a pod: the pod around both is not the caller's.
    let nested = path("0::/kubepods/pod<V>/<D>/kubepods/besteffort/pod<V>/<D>");
    let theirs = path("0::/kubepods/pod<V>/<D>/kubepods/burstable/pod<U>/<C>");
    let found = Container::locate(theirs.as_bytes(), nested.as_bytes());
    assert_eq!(found, Ok(container(Some(UID), ID)));
    // The agent's own pod is never among what is shared.
    assert_eq!(
        locate("0::/docker/<D>/kubepods/besteffort/pod<V>/<C>"),
        Ok(container(Some(OTHER_UID), ID))
    );
}

#[test]
fn hierarchies_must_agree_and_those_that_know_nothing_do_not_count() {
    let agreeing = "12:cpu:/kubepods/pod<U>/<C>\n3:pids:/\n2:name=systemd:/docker/<D>/x\n0::/\n";
    assert_eq!(locate(agreeing), Ok(container(Some(UID), ID)));
    let reversed: Vec<_> = agreeing.lines().rev().collect();
    assert_eq!(locate(&reversed.join("\n")), Ok(container(Some(UID), ID)));
    let partly = "2:cpu:/kubepods/pod<U>\n1:pids:/kubepods/pod<U>/<C>\n";
    assert_eq!(locate(partly), Ok(container(Some(UID), ID)));
    assert!(matches!(
        locate("2:cpu:/kubepods/pod<U>/<C>\n1:pids:/kubepods/pod<V>/<C>"),
        Err(CgroupError::Pods(..))
    ));
    for file in [
        "2:cpu:/kubepods/pod<U>/<C>\n1:pids:/kubepods/pod<U>/<D>",
        "2:cpu:/../crio-<C>.scope\n1:pids:/../crio-<D>.scope",
    ] {
        assert!(matches!(locate(file), Err(CgroupError::Containers(..))), "{file}");
    }
}

#[test]
fn a_line_that_is_none_is_refused_and_octets_that_are_no_text_are_not() {
    assert!(matches!(locate("nonsense"), Err(CgroupError::Line(_))));
    let mut file = path("0::/kubepods/pod<U>/<C>/").into_bytes();
    file.extend([0xff, 0xfe, b'\n']);
    assert_eq!(Container::locate(&file, ON_THE_NODE.as_bytes()), Ok(container(Some(UID), ID)));
}

proptest! {
    /// Whatever a container adds below itself, it stays itself.
    #[test]
    fn nothing_below_a_container_changes_who_it_is(below in "(/(pod|[a-f0-9]{64}|[a-z.:_-]{0,9}|\\.\\.)){0,6}") {
        // A step upwards is no name that a group can have.
        let below = below.replace("..", "x");
        let file = path(&format!("0::/kubepods/burstable/pod<U>/<C>{below}"));
        let found = Container::locate(file.as_bytes(), ON_THE_NODE.as_bytes());
        prop_assert_eq!(found, Ok(container(Some(UID), ID)));
    }

    #[test]
    fn no_file_makes_it_fall_over(theirs in any::<Vec<u8>>(), own in any::<Vec<u8>>()) {
        let _answered = Container::locate(&theirs, &own);
    }
}
