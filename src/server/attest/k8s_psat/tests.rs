//! The decision table: what each answer of the API server is worth (A-19, B-PSAT).

use super::*;
use crate::{
    k8s::{
        lookup::{Node, Pod},
        token_review::{TokenUser, Verdict},
    },
    server::config::AgentIdFrom,
    transport::status::Kind,
};

/// What the API server says in one attestation.
struct World {
    config: PsatCluster,
    verdict: Verdict,
    pod: Pod,
    node: Node,
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn binding(key: &str, value: &str) -> (String, Vec<String>) {
    (format!("authentication.kubernetes.io/{key}"), texts(&[value]))
}

impl World {
    /// Where everything is right.
    fn new() -> Self {
        let bindings = [
            ("pod-name", "agent-x"),
            ("pod-uid", "P1"),
            ("node-name", "node-1"),
            ("node-uid", "N1"),
        ];
        let user = TokenUser {
            username: "system:serviceaccount:spire:spire-agent".to_owned(),
            audiences: texts(&["spire-server"]),
            extra: bindings.into_iter().map(|(key, value)| binding(key, value)).collect(),
        };
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            config: PsatCluster {
                service_account_allow_list: texts(&["spire:spire-agent"]),
                audience: texts(&["spire-server"]),
                kube_config_file: None,
                allowed_node_label_keys: Vec::new(),
                allowed_pod_label_keys: Vec::new(),
                agent_id_from: AgentIdFrom::NodeUid,
            },
            verdict: Verdict::Authenticated(user),
            pod: Pod {
                uid: "P1".to_owned(),
                node_name: "node-1".to_owned(),
                host_ip: "172.16.10.1".to_owned(),
                phase: "Running".to_owned(),
                labels: [label("app", "agent"), label("tier", "")].into(),
            },
            node: Node { uid: "N1".to_owned(), labels: [label("zone", "a")].into() },
        }
    }

    fn user(&mut self) -> &mut TokenUser {
        let Verdict::Authenticated(user) = &mut self.verdict else { panic!("refused already") };
        user
    }

    fn bind(&mut self, key: &str, values: &[&str]) {
        let key = format!("authentication.kubernetes.io/{key}");
        self.user().extra.insert(key, texts(values));
    }

    fn unbind(&mut self, key: &str) {
        self.user().extra.remove(&format!("authentication.kubernetes.io/{key}")).unwrap();
    }

    fn judge(self) -> Result<Proven, PsatError> {
        let Self { config, verdict, pod, node } = self;
        let judged = || {
            let claim = Claim::read(verdict, &config)?;
            claim.check_pod(&pod)?;
            claim.check_node(&node)?;
            let site =
                Site { cluster: "c", config: &config, claim: &claim, pod: &pod, node: &node };
            let id = site.agent_id(&TrustDomain::parse("example.org").unwrap())?;
            Ok(Proven { id, attestation_type: TYPE, selectors: site.selectors()? })
        };
        judged().map_err(|refusal: Refusal| refusal.of_cluster("c"))
    }
}

fn judged(change: impl FnOnce(&mut World)) -> Result<Proven, PsatError> {
    let mut world = World::new();
    change(&mut world);
    world.judge()
}

fn path(change: impl FnOnce(&mut World)) -> String {
    judged(change).unwrap().id.path().to_owned()
}

fn refused(change: impl FnOnce(&mut World)) -> (Kind, String) {
    let error = judged(change).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn an_agent_is_named_after_its_node_and_known_by_what_the_api_server_says() {
    let proven = judged(|_| {}).unwrap();
    assert_eq!(proven.id.path(), "/spire/agent/k8s_psat/c/N1");
    let mut expected = [
        "cluster:c",
        "agent_ns:spire",
        "agent_sa:spire-agent",
        "agent_pod_name:agent-x",
        "agent_pod_uid:P1",
        "agent_node_ip:172.16.10.1",
        "agent_node_name:node-1",
        "agent_node_uid:N1",
    ]
    .map(|value| format!("k8s_psat:{value}"));
    expected.sort();
    let mut found: Vec<_> =
        proven.selectors.as_slice().iter().map(|s| s.as_str().to_owned()).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn only_allowed_labels_become_selectors() {
    let proven = judged(|world| {
        world.config.allowed_node_label_keys = texts(&["zone", "absent"]);
        world.config.allowed_pod_label_keys = texts(&["tier"]);
    });
    let proven = proven.unwrap();
    let labels: Vec<_> = proven.selectors.as_slice().iter().map(|s| s.value()).collect();
    let labels: Vec<_> = labels.into_iter().filter(|value| value.contains("_label")).collect();
    assert_eq!(labels, ["agent_node_label:zone:a", "agent_pod_label:tier:"]);
}

#[test]
fn several_agents_of_a_node_are_told_apart_by_their_pods_if_wanted() {
    let found = path(|world| world.config.agent_id_from = AgentIdFrom::PodUid);
    assert_eq!(found, "/spire/agent/k8s_psat/c/pod/P1");
}

#[test]
fn what_an_older_or_a_slower_kubernetes_says_is_enough() {
    for change in [
        // Before 1.30 the token says nothing of the node.
        |world: &mut World| {
            world.unbind("node-name");
            world.unbind("node-uid");
        },
        // The kubelet has not told yet that the agent runs.
        |world: &mut World| {
            world.pod.phase = "Pending".to_owned();
            world.pod.host_ip = String::new();
        },
        // The audience of the API server itself: it names none.
        |world: &mut World| {
            world.config.audience = Vec::new();
            world.user().audiences = Vec::new();
        },
        // One of several audiences.
        |world: &mut World| world.config.audience = texts(&["other", "spire-server"]),
    ] {
        assert_eq!(path(change), "/spire/agent/k8s_psat/c/N1");
    }
}

#[test]
fn a_token_that_proves_nothing_is_refused_in_spires_words() {
    let review = "unable to validate token with TokenReview API for cluster \"c\": ";
    let user = "failed to parse username from token review status for cluster \"c\": ";
    let name = "failed to get pod name from token review status for cluster \"c\": ";
    let uid = "failed to get pod UID from token review status for cluster \"c\": ";
    type Change = fn(&mut World);
    let rows: [(Change, String); 14] = [
        (
            |world| world.verdict = Verdict::Refused { error: None },
            "token not authenticated according to TokenReview API for cluster \"c\"".to_owned(),
        ),
        (
            |world| world.verdict = Verdict::Refused { error: Some("expired".to_owned()) },
            format!("{review}token review API response contains an error: expired"),
        ),
        (
            |world| world.user().audiences = texts(&["api"]),
            format!(
                "{review}token review API did not validate audience: wanted one of \
                 [\"spire-server\"] but got [\"api\"]"
            ),
        ),
        (
            |world| world.user().audiences.clear(),
            format!(
                "{review}token review API did not validate audience: wanted one of \
                 [\"spire-server\"] but got []"
            ),
        ),
        (|world| world.user().username.clear(), format!("{user}empty username")),
        (
            |world| world.user().username = "admin".to_owned(),
            format!("{user}unexpected username format: admin"),
        ),
        (
            |world| world.user().username = "system:node:spire:spire-agent".to_owned(),
            format!("{user}unexpected username format: system:node:spire:spire-agent"),
        ),
        (
            |world| world.user().username = "system:serviceaccount::a".to_owned(),
            format!("{user}missing namespace"),
        ),
        (
            |world| world.user().username = "system:serviceaccount:a:".to_owned(),
            format!("{user}missing service account name"),
        ),
        (
            |world| world.user().username = "system:serviceaccount:default:web".to_owned(),
            "\"default:web\" is not an allowed service account for cluster \"c\"".to_owned(),
        ),
        (|world| world.unbind("pod-name"), format!("{name}missing pod name")),
        (|world| world.bind("pod-name", &["a", "b"]), format!("{name}expected 1 name but got: 2")),
        (|world| world.bind("pod-uid", &[]), format!("{uid}expected 1 UID but got: 0")),
        (|world| world.bind("pod-uid", &[""]), format!("{uid}pod UID is empty")),
    ];
    for (change, text) in rows {
        assert_eq!(refused(change), (Kind::Denied, text));
    }
}

#[test]
fn a_token_that_was_carried_elsewhere_is_refused() {
    type Change = fn(&mut World);
    let rows: [(Change, &str); 7] = [
        (
            |world| world.pod.uid = "P2".to_owned(),
            "pod UID mismatch for pod \"agent-x\" in cluster \"c\": token bound to pod UID \"P1\"",
        ),
        (
            |world| world.pod.phase = "Failed".to_owned(),
            "pod \"agent-x\" in cluster \"c\" has ended: its phase is \"Failed\"",
        ),
        (
            |world| world.pod.phase = "Succeeded".to_owned(),
            "pod \"agent-x\" in cluster \"c\" has ended: its phase is \"Succeeded\"",
        ),
        (
            |world| world.pod.node_name.clear(),
            "pod \"agent-x\" in cluster \"c\" is not bound to a node",
        ),
        (
            |world| world.pod.node_name = "node-2".to_owned(),
            "node name mismatch in cluster \"c\": token bound to node name \"node-1\", pod is on \
             \"node-2\"",
        ),
        (
            |world| world.node.uid = "N2".to_owned(),
            "node UID mismatch in cluster \"c\": token bound to node UID \"N1\", pod is on \"N2\"",
        ),
        (
            |world| world.bind("node-name", &["node-1", "node-2"]),
            "failed to get node name from token review status for cluster \"c\": expected 1 name but \
             got: 2",
        ),
    ];
    for (change, text) in rows {
        assert_eq!(refused(change), (Kind::Denied, text.to_owned()));
    }
}

#[test]
fn an_api_server_that_talks_nonsense_is_not_the_agents_fault() {
    let (kind, text) = refused(|world| world.node.uid.clear());
    assert_eq!((kind, text.as_str()), (Kind::Internal, "node UID is empty for cluster \"c\""));
    let odd = |world: &mut World| {
        world.unbind("node-uid");
        world.node.uid = "../../server".to_owned();
    };
    assert_eq!(refused(odd).0, Kind::Internal, "no name leads out of the cluster's own");
}

#[test]
fn a_payload_that_cannot_be_read_is_refused_without_repeating_it() {
    let said = |payload: &[u8]| match read(payload) {
        Ok(_) => panic!("read"),
        Err(error) => (error.kind(), error.to_string()),
    };
    let unread = "failed to unmarshal data payload: expected a JSON object";
    for payload in [&b"secret"[..], b"\"secret\"", b"{\"token\":{\"secret\":1}}", b"[1]", b"\xff"] {
        let (kind, text) = said(payload);
        assert!(kind == Kind::Invalid && text.starts_with(unread), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let huge = format!("{{\"cluster\":\"c\",\"token\":\"{}\"}}", "x".repeat(1_000_000));
    for (payload, text) in [
        ("{}", "missing cluster in attestation data"),
        ("{\"token\":\"x\"}", "missing cluster in attestation data"),
        ("{\"cluster\":\"c\"}", "missing token in attestation data"),
        (&huge, "token in attestation data has 1000000 bytes, expected at most 65536"),
    ] {
        assert_eq!(said(payload.as_bytes()), (Kind::Invalid, text.to_owned()));
    }
}
