//! One process on a node: from what its agent knows of it to what keeps it from its identity.

use super::finding::Finding;

/// What the agent knows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Examined {
    /// Its process id.
    pub pid: i32,
    /// The UID of its pod; empty when it is in none.
    pub pod_uid: String,
    /// Its container; empty when it is in none.
    pub container_id: String,
    /// What it is told by, as `type:value`.
    pub selectors: Vec<String>,
    /// Why an attestor cannot tell; empty when all have.
    pub attestation_error: String,
    /// The entries that match it, then the nearest others.
    pub entries: Vec<Near>,
    /// How many entries the agent has.
    pub known_entries: u32,
    /// How many connections the process has to the workload socket.
    pub connections: u32,
    /// What it asked for and was not given.
    pub unanswered: Vec<Unanswered>,
    /// Whether it has refused what it was sent last.
    pub refuses: bool,
    /// The agent's SPIFFE ID; empty when it has none.
    pub agent_id: String,
    /// Whether the agent has heard its server.
    pub synced: bool,
}

/// An entry, and how far the process is from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Near {
    /// The entry.
    pub id: String,
    /// The identity that it gives.
    pub spiffe_id: String,
    /// What the process lacks.
    pub missing_selectors: Vec<String>,
    /// When its SVID ends, in seconds since the Unix epoch; 0 when there is none.
    pub svid_expires_at: i64,
}

/// A name of SDS without an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unanswered {
    /// The name.
    pub name: String,
    /// Whether no SPIFFE agent has such a name.
    pub foreign: bool,
}

/// What the findings come to.
#[must_use]
pub fn findings(examined: &Examined) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(agent(examined));
    if examined.attestation_error.is_empty() {
        findings.extend(identity(examined));
    } else {
        findings.push(Finding::problem(
            format!(
                "the agent cannot tell who the process is, and its streams wait: {}",
                examined.attestation_error
            ),
            "kubectl auth can-i get nodes --subresource=pods --as \
             system:serviceaccount:<namespace>:<service account of the agent>",
        ));
    }
    findings.extend(examined.unanswered.iter().map(|name| unanswered(examined, name)));
    if examined.refuses {
        findings.push(Finding::problem(
            "it has refused the last secret that it was sent",
            "curl -s http://127.0.0.1:15000/stats?filter=sds",
        ));
    }
    if examined.connections == 0 {
        findings.push(Finding::problem(
            "it has no connection to the agent's socket: it does not ask, or asks elsewhere",
            format!("ls -l /proc/{}/root/run/secrets/workload-spiffe-uds", examined.pid),
        ));
    }
    findings
}

fn agent(examined: &Examined) -> Option<Finding> {
    if examined.agent_id.is_empty() {
        return Some(Finding::problem(
            "the agent has no identity of its own: its server has not attested it",
            "finial agent healthcheck -verbose",
        ));
    }
    (!examined.synced).then(|| {
        Finding::problem(
            "the agent has not heard its entries from the server yet",
            "finial agent debug getinfo",
        )
    })
}

fn identity(examined: &Examined) -> Vec<Finding> {
    let matching: Vec<_> =
        examined.entries.iter().filter(|entry| entry.missing_selectors.is_empty()).collect();
    if matching.is_empty() {
        return vec![nothing_matches(examined)];
    }
    let found = |entry: &&Near| match entry.svid_expires_at {
        0 => Finding::problem(
            format!("it may have {}, whose SVID the server has not signed", entry.spiffe_id),
            "finial agent debug getinfo",
        ),
        _ => Finding::well(format!("it has {}", entry.spiffe_id)),
    };
    matching.iter().map(found).collect()
}

fn nothing_matches(examined: &Examined) -> Finding {
    if examined.known_entries == 0 {
        return Finding::problem(
            "the server has no entry for the workloads of this node",
            format!("spire-server entry show -parentID {}", or_unknown(&examined.agent_id)),
        );
    }
    let create = create_command(examined);
    match examined.entries.first() {
        Some(nearest) => Finding::problem(
            format!(
                "no entry matches it; the nearest, {}, wants what it lacks: {}",
                nearest.spiffe_id,
                nearest.missing_selectors.join(", ")
            ),
            format!("spire-server entry show -entryID {}", nearest.id),
        ),
        None => Finding::problem(
            format!(
                "none of the agent's {} entries has a selector in common with it",
                examined.known_entries
            ),
            create,
        ),
    }
}

/// An entry for what tells the process best: its service account, else its user.
fn create_command(examined: &Examined) -> String {
    let of = |prefix: &str| examined.selectors.iter().find(|selector| selector.starts_with(prefix));
    let chosen: Vec<_> = match (of("k8s:ns:"), of("k8s:sa:")) {
        (Some(namespace), Some(account)) => vec![namespace, account],
        _ => of("unix:uid:").into_iter().collect(),
    };
    let selectors: Vec<_> =
        chosen.into_iter().map(|selector| format!("-selector {selector}")).collect();
    format!(
        "spire-server entry create -parentID {} -spiffeID spiffe://<trust domain>/<path> {}",
        or_unknown(&examined.agent_id),
        selectors.join(" ")
    )
}

fn unanswered(examined: &Examined, name: &Unanswered) -> Finding {
    if name.foreign {
        return Finding::problem(
            format!(
                "it asks for {:?}, which no SPIFFE agent has: Istio before 1.25 asks here for files",
                name.name
            ),
            "istioctl version",
        );
    }
    Finding::problem(
        format!("it asks for {:?} and waits", name.name),
        format!("spire-server entry show -parentID {}", or_unknown(&examined.agent_id)),
    )
}

fn or_unknown(id: &str) -> &str {
    if id.is_empty() { "<the agent's SPIFFE ID>" } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    /// A process in a pod that has its identity.
    fn well() -> Examined {
        let id = "spiffe://example.org/ns/default/sa/web".to_owned();
        Examined {
            pid: 7,
            selectors: ["k8s:ns:default", "k8s:sa:web", "unix:uid:0"].map(str::to_owned).into(),
            entries: vec![Near {
                id: "e".to_owned(),
                spiffe_id: id,
                svid_expires_at: 9,
                ..Near::default()
            }],
            known_entries: 3,
            connections: 1,
            agent_id: "spiffe://example.org/spire/agent/k8s_psat/demo/n".to_owned(),
            synced: true,
            ..Examined::default()
        }
    }

    fn only_problem(examined: &Examined) -> Finding {
        let mut problems = findings(examined);
        problems.retain(|finding| finding.level == Level::Problem);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn a_process_with_its_identity_has_no_problem() {
        let found = findings(&well());
        assert_eq!(found, [Finding::well("it has spiffe://example.org/ns/default/sa/web")]);
    }

    #[test]
    fn each_thing_that_is_amiss_is_one_problem_with_the_command_that_leads_on() {
        let near = |missing: &[&str], expires| Near {
            id: "e".to_owned(),
            spiffe_id: "spiffe://example.org/web".to_owned(),
            missing_selectors: missing.iter().map(|text| (*text).to_owned()).collect(),
            svid_expires_at: expires,
        };
        let name = |name: &str, foreign| Unanswered { name: name.to_owned(), foreign };
        for (examined, what, next) in [
            (
                Examined { agent_id: String::new(), ..well() },
                "no identity of its own",
                "healthcheck",
            ),
            (Examined { synced: false, ..well() }, "has not heard its entries", "debug getinfo"),
            (
                Examined { attestation_error: "kubelet: 403".to_owned(), ..well() },
                "cannot tell who the process is, and its streams wait: kubelet: 403",
                "kubectl auth can-i get nodes",
            ),
            (
                Examined { entries: vec![near(&["k8s:sa:api"], 0)], ..well() },
                "the nearest, spiffe://example.org/web, wants what it lacks: k8s:sa:api",
                "entry show -entryID e",
            ),
            (
                Examined { entries: Vec::new(), ..well() },
                "none of the agent's 3 entries has a selector in common",
                "-selector k8s:ns:default -selector k8s:sa:web",
            ),
            (
                Examined { entries: Vec::new(), known_entries: 0, ..well() },
                "no entry for the workloads of this node",
                "entry show -parentID spiffe://example.org/spire/agent/k8s_psat/demo/n",
            ),
            (Examined { entries: vec![near(&[], 0)], ..well() }, "has not signed", "debug getinfo"),
            (
                Examined { unanswered: vec![name("default", false)], ..well() },
                "asks for \"default\" and waits",
                "entry show",
            ),
            (
                Examined { unanswered: vec![name("file-root:system", true)], ..well() },
                "asks for \"file-root:system\", which no SPIFFE agent has",
                "istioctl version",
            ),
            (Examined { refuses: true, ..well() }, "has refused", "stats"),
            (Examined { connections: 0, ..well() }, "no connection", "ls -l /proc/7/root"),
        ] {
            let problem = only_problem(&examined);
            assert!(problem.what.contains(what), "{problem:?}");
            assert!(
                problem.next.as_ref().is_some_and(|command| command.contains(next)),
                "{problem:?}"
            );
        }
    }
}
