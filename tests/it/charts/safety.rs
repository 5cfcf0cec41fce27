//! What upstream's chart needs hooks, helper images and privileges for, and this one does not.

use super::helm::{INSTALLATIONS, Installation, list};
use serde_json::Value;

#[test]
fn nothing_but_the_test_is_a_hook_and_nothing_is_a_job() {
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        for object in &rendered.objects {
            let hook = &object["metadata"]["annotations"]["helm.sh/hook"];
            assert!(hook.is_null() || hook == "test", "{object}");
            assert!(object["kind"] != "Job" && object["kind"] != "CronJob", "{object}");
        }
    }
}

#[test]
fn one_image_runs_everything_without_init_containers() {
    for installation in INSTALLATIONS {
        let rendered = installation.render();
        for (name, pod) in rendered.pods() {
            assert!(pod["initContainers"].is_null(), "{name}");
            for container in list(&pod["containers"]) {
                let image = container["image"].as_str().unwrap();
                assert!(image.starts_with("ghcr.io/finial/finial:"), "{name} {image}");
                let program = container["command"][0].as_str().unwrap();
                assert!(program.starts_with("/opt/spire/bin/"), "{name} {program}");
            }
        }
    }
}

/// Pod Security Standards, `restricted`.
fn is_restricted(pod: &Value) -> bool {
    let whole = &pod["securityContext"];
    let is_plain = ["hostPID", "hostNetwork", "hostIPC"].iter().all(|key| pod[*key].is_null());
    let has_host_path = list(&pod["volumes"]).any(|volume| !volume["hostPath"].is_null());
    let are_bound = list(&pod["containers"]).all(|container| {
        let own = &container["securityContext"];
        own["allowPrivilegeEscalation"] == false
            && own["capabilities"]["drop"] == serde_json::json!(["ALL"])
            && own["capabilities"]["add"].is_null()
            && own["readOnlyRootFilesystem"] == true
    });
    is_plain
        && !has_host_path
        && are_bound
        && whole["runAsNonRoot"] == true
        && whole["seccompProfile"]["type"] == "RuntimeDefault"
}

#[test]
fn server_and_test_fit_the_strictest_pod_security_level() {
    for set in [&[][..], &["spire-server.keyManager.kubernetesSecret.enabled=true"]] {
        let set: &'static [&'static str] = set;
        let rendered = Installation::with(set).render();
        let strict: Vec<_> =
            rendered.pods().filter(|(_, pod)| is_restricted(pod)).map(|(name, _)| name).collect();
        assert_eq!(strict, ["spire-server", "spire-test-identity"]);
    }
}

#[test]
fn agent_and_driver_hold_no_privilege_that_they_do_not_need() {
    let rendered = Installation::USUAL.render();
    let container = |component| {
        let pods = rendered.of("DaemonSet", component);
        pods["spec"]["template"]["spec"]["containers"][0]["securityContext"].clone()
    };
    let agent = container("agent");
    assert_eq!(agent["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    assert!(agent["privileged"].is_null() && agent["allowPrivilegeEscalation"] == false);
    // Mount propagation towards the host is for privileged containers only.
    assert_eq!(container("spiffe-csi-driver")["privileged"], true);
    for component in ["agent", "spiffe-csi-driver"] {
        assert_eq!(container(component)["readOnlyRootFilesystem"], true);
        let pods = rendered.of("DaemonSet", component);
        let tolerations = &pods["spec"]["template"]["spec"]["tolerations"];
        assert_eq!(tolerations, &serde_json::json!([{"operator": "Exists"}]));
    }
}

#[test]
fn on_the_hosts_network_health_is_the_hosts_alone() {
    let rendered = Installation::USUAL.render();
    let pod = &rendered.of("DaemonSet", "agent")["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    let conf: Value = serde_json::from_str(rendered.file("agent.conf").unwrap()).unwrap();
    for probe in ["livenessProbe", "readinessProbe"] {
        let host = &pod["containers"][0][probe]["httpGet"]["host"];
        assert_eq!(host, &conf["health_checks"]["bind_address"]);
        assert_eq!(host, "127.0.0.1");
    }
}

/// The chart's own objects come before the webhook serves, everybody else's are checked from the start.
#[test]
fn the_webhook_exempts_the_charts_own_objects_and_no_others() {
    let rendered = Installation { values: "federation", ..Installation::USUAL }.render();
    let webhooks = rendered.all("ValidatingWebhookConfiguration").next().unwrap();
    let hooks: Vec<_> = list(&webhooks["webhooks"]).collect();
    assert_eq!(hooks.len(), 3);
    for hook in hooks {
        assert_eq!(hook["failurePolicy"], "Fail");
        assert!(hook["clientConfig"]["caBundle"].is_null(), "the controller's to fill in");
        let demand = &hook["objectSelector"]["matchExpressions"];
        assert_eq!(demand.as_array().unwrap().len(), 1);
        assert_eq!(
            (&demand[0]["operator"], &demand[0]["values"][0]),
            (&"NotIn".into(), &"chart".into())
        );
        let label = demand[0]["key"].as_str().unwrap();
        for kind in ["ClusterSPIFFEID", "ClusterStaticEntry", "ClusterFederatedTrustDomain"] {
            let own: Vec<_> = rendered.all(kind).collect();
            assert!(!own.is_empty());
            assert!(
                own.iter().all(|object| object["metadata"]["labels"][label] == "chart"),
                "{kind}"
            );
        }
    }
}

#[test]
fn the_driver_outlives_the_release_unless_told_otherwise() {
    let kept = |set| {
        let rendered = Installation::with(set).render();
        let is_kept = |object: &&Value| {
            object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        };
        rendered.objects.iter().filter(is_kept).count()
    };
    assert_eq!(kept(&[]), 3);
    assert_eq!(kept(&["spiffe-csi-driver.keepOnUninstall=false"]), 0);
}

#[test]
fn what_must_outlive_a_pod_is_on_the_host_or_a_volume() {
    let rendered = Installation::USUAL.render();
    let server = rendered.of("StatefulSet", "server");
    assert_eq!(server["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "spire-data");
    let agent = &rendered.of("DaemonSet", "agent")["spec"]["template"]["spec"];
    for name in ["spire-agent-persistence", "spire-agent-socket-dir"] {
        let volume = list(&agent["volumes"]).find(|volume| volume["name"] == name).unwrap();
        // In memory: nothing secret gets to a disk.
        assert!(volume["hostPath"]["path"].as_str().unwrap().starts_with("/run/"), "{volume}");
    }
}
