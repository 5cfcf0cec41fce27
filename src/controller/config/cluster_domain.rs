//! The domain of the cluster's services, when nobody configures it.
//!
//! Upstream asks the name server for the CNAME of `kubernetes.default.svc`. The kubelet has written the
//! answer into the resolver configuration of each pod already: nobody need be asked.

/// The cluster domain that `resolv_conf` tells, which the kubelet wrote as
/// `search <namespace>.svc.<domain> svc.<domain> <domain>`.
pub(super) fn detect(resolv_conf: &str) -> Option<String> {
    let search = resolv_conf.lines().rev().find_map(|line| line.trim().strip_prefix("search"))?;
    let domain = search.split_whitespace().find_map(|domain| domain.strip_prefix("svc."))?;
    let domain = domain.trim_end_matches('.');
    (!domain.is_empty()).then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_has_written_the_cluster_domain_into_every_pod() {
        let file = "search spire.svc.k8s.example.org svc.k8s.example.org k8s.example.org corp.example\n\
                    nameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(detect(file).as_deref(), Some("k8s.example.org"));
    }

    #[test]
    fn a_machine_outside_of_a_cluster_has_none() {
        for file in ["", "nameserver 10.0.0.1\n", "search corp.example\n", "search svc.\n"] {
            assert_eq!(detect(file), None, "{file}");
        }
    }
}
