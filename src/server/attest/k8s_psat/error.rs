//! Why a service account token does not attest an agent. The texts are SPIRE's (1.15: k8spsat/psat.go)
//! where SPIRE has the case; the codes tell an agent's fault from the API server's, which SPIRE's do not.

use crate::{
    k8s::{Fault, KubeError},
    spiffe,
    transport::status::Kind,
};

/// Why an agent is not attested.
#[derive(Debug, thiserror::Error)]
pub enum PsatError {
    /// The payload is not what this attestor reads.
    #[error(
        "failed to unmarshal data payload: expected a JSON object with the texts cluster and token \
         (line {line}, column {column})"
    )]
    Payload {
        /// Where it ceases to be one.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The payload names no cluster.
    #[error("missing cluster in attestation data")]
    NoCluster,
    /// The payload has no token.
    #[error("missing token in attestation data")]
    NoToken,
    /// No API server issues such a token.
    #[error("token in attestation data has {length} bytes, expected at most {limit}")]
    TokenTooLong {
        /// Its length.
        length: usize,
        /// The longest.
        limit: usize,
    },
    /// This server has no such cluster.
    #[error("not configured for cluster {0:?}")]
    UnknownCluster(String),
    /// The API server did not say what had to be known.
    #[error("{} for cluster {cluster:?}: {}{source}", step.failure(), step.question())]
    Unanswered {
        /// What was asked.
        step: Step,
        /// Of which cluster.
        cluster: String,
        /// Why there is no answer.
        source: KubeError,
    },
    /// What the API server says speaks against the agent.
    #[error("{}", .refusal.text(.cluster))]
    Refused {
        /// The cluster that the agent says to be in.
        cluster: String,
        /// What speaks against it.
        refusal: Refusal,
    },
}

/// What the API server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whose the token is.
    Token,
    /// What the pod is.
    Pod,
    /// What the node is.
    Node,
}

/// What speaks against an agent, in the order in which it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The API server says why it does not accept the token.
    TokenError(String),
    /// It does not, and says no more.
    NotAuthenticated,
    /// The token is for somebody else to see.
    Audience {
        /// Who should.
        wanted: Vec<String>,
        /// Who may.
        found: Vec<String>,
    },
    /// The token is nobody's.
    NoUser,
    /// The token is not a service account's.
    NotServiceAccount(String),
    /// The name of the token's service account lacks this half.
    HalfServiceAccount(&'static str),
    /// This service account's pods are not agents.
    NotAllowed(String),
    /// The token is bound to nothing of this kind: `pod name` or `pod UID`.
    NoBinding(&'static str),
    /// The token does not say once and for all what it is bound to.
    Bindings {
        /// `pod name`, `pod UID`, `node name` or `node UID`.
        what: &'static str,
        /// How many it names.
        count: usize,
    },
    /// What the token is bound to is named by an empty text.
    EmptyBinding(&'static str),
    /// Another pod has the name by now.
    OtherPod {
        /// The name.
        name: String,
        /// The UID of the pod that the token was given to.
        bound: String,
    },
    /// The pod has ended, and its token outlived it.
    PodEnded {
        /// The pod.
        name: String,
        /// How.
        phase: String,
    },
    /// The pod runs nowhere yet.
    PodUnbound(String),
    /// The token was given to the pod on another node.
    OtherNode {
        /// `name` or `UID`.
        what: &'static str,
        /// What the token says.
        bound: String,
        /// What the API server says now.
        found: String,
    },
    /// The node has no UID.
    NoNodeUid,
    /// What the API server says makes no identity.
    Identity(spiffe::id::Error),
    /// What the API server says makes no selector.
    Selector(spiffe::selector::Error),
}

impl PsatError {
    /// What the error means to the agent.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Payload { .. }
            | Self::NoCluster
            | Self::NoToken
            | Self::TokenTooLong { .. }
            | Self::UnknownCluster(_) => Kind::Invalid,
            Self::Unanswered { step, source, .. } => match (source.fault(), step) {
                (Fault::Away, _) => Kind::Unavailable,
                // The pod or the node is gone: nobody can be on it.
                (Fault::Missing, Step::Pod | Step::Node) => Kind::Denied,
                (Fault::Missing | Fault::Setup, _) => Kind::Internal,
            },
            Self::Refused { refusal, .. } => match refusal {
                Refusal::NoNodeUid | Refusal::Identity(_) | Refusal::Selector(_) => Kind::Internal,
                _ => Kind::Denied,
            },
        }
    }
}

impl Step {
    /// The error of an answer to this question that did not come.
    pub(super) fn unanswered(self, cluster: &str) -> impl FnOnce(KubeError) -> PsatError {
        let cluster = cluster.to_owned();
        move |source| PsatError::Unanswered { step: self, cluster, source }
    }

    const fn failure(self) -> &'static str {
        match self {
            Self::Token => "unable to validate token with TokenReview API",
            Self::Pod => "failed to get pod from k8s API server",
            Self::Node => "failed to get node from k8s API server",
        }
    }

    const fn question(self) -> &'static str {
        match self {
            Self::Token => "unable to query token review API: ",
            Self::Pod => "unable to query pods API: ",
            Self::Node => "unable to query nodes API: ",
        }
    }
}

impl Refusal {
    pub(super) fn of_cluster(self, cluster: &str) -> PsatError {
        PsatError::Refused { cluster: cluster.to_owned(), refusal: self }
    }

    fn text(&self, cluster: &str) -> String {
        let review = Step::Token.failure();
        let user = "failed to parse username from token review status";
        match self {
            Self::TokenError(error) => format!(
                "{review} for cluster {cluster:?}: token review API response contains an error: {error}"
            ),
            Self::NotAuthenticated => format!(
                "token not authenticated according to TokenReview API for cluster {cluster:?}"
            ),
            Self::Audience { wanted, found } => format!(
                "{review} for cluster {cluster:?}: token review API did not validate audience: wanted \
                 one of {wanted:?} but got {found:?}"
            ),
            Self::NoUser => format!("{user} for cluster {cluster:?}: empty username"),
            Self::NotServiceAccount(name) => {
                format!("{user} for cluster {cluster:?}: unexpected username format: {name}")
            }
            Self::HalfServiceAccount(what) => {
                format!("{user} for cluster {cluster:?}: missing {what}")
            }
            Self::NotAllowed(account) => {
                format!("{account:?} is not an allowed service account for cluster {cluster:?}")
            }
            Self::NoBinding(what) => {
                format!("{} for cluster {cluster:?}: missing {what}", no_binding(what))
            }
            Self::Bindings { what, count } => format!(
                "{} for cluster {cluster:?}: expected 1 {} but got: {count}",
                no_binding(what),
                last_word(what)
            ),
            Self::EmptyBinding(what) => {
                format!("{} for cluster {cluster:?}: {what} is empty", no_binding(what))
            }
            Self::OtherPod { name, bound } => format!(
                "pod UID mismatch for pod {name:?} in cluster {cluster:?}: token bound to pod UID {bound:?}"
            ),
            Self::PodEnded { name, phase } => {
                format!("pod {name:?} in cluster {cluster:?} has ended: its phase is {phase:?}")
            }
            Self::PodUnbound(name) => {
                format!("pod {name:?} in cluster {cluster:?} is not bound to a node")
            }
            Self::OtherNode { what, bound, found } => format!(
                "node {what} mismatch in cluster {cluster:?}: token bound to node {what} {bound:?}, pod is \
                 on {found:?}"
            ),
            Self::NoNodeUid => format!("node UID is empty for cluster {cluster:?}"),
            Self::Identity(error) => {
                format!("node of cluster {cluster:?} makes no agent ID: {error}")
            }
            Self::Selector(error) => {
                format!("node of cluster {cluster:?} makes no selector: {error}")
            }
        }
    }
}

fn no_binding(what: &str) -> String {
    format!("failed to get {what} from token review status")
}

fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or(text)
}
