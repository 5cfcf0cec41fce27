use super::*;
use crate::config::Environment;
use std::path::Path;

/// What helm-charts-hardened 0.30 renders for its default values.
const CHART: &str = r"
apiVersion: spire.spiffe.io/v1alpha1
kind: ControllerManagerConfig
metrics:
  bindAddress: 0.0.0.0:8082
health:
  healthProbeBindAddress: 0.0.0.0:8083
leaderElection:
  leaderElect: true
  resourceName: 16e1ee4d.spiffe.io
  resourceNamespace: spire-server
validatingWebhookConfigurationName: spire-server-spire-controller-manager-webhook
entryIDPrefix: example-cluster
clusterName: example-cluster
trustDomain: example.org
ignoreNamespaces:
  - kube-system
  - kube-public
  - local-path-storage
spireServerSocketPath: /tmp/spire-server/private/api.sock
className: spire-server-spire
watchClassless: true
parentIDTemplate: spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}
gcInterval: 10000000000
reconcile:
  clusterSPIFFEIDs: true
  clusterStaticEntries: true
  clusterFederatedTrustDomains: true
";

/// What Istio's quick start installs (`samples/security/spire`).
const QUICK_START: &str = r"
apiVersion: spire.spiffe.io/v1alpha1
kind: ControllerManagerConfig
metrics:
  bindAddress: 127.0.0.1:8082
healthProbe:
  bindAddress: 127.0.0.1:8083
leaderElection:
  leaderElect: true
  resourceName: 98c9c988.spiffe.io
  resourceNamespace: spire
clusterName: demo-cluster
trustDomain: example.org
ignoreNamespaces:
  - kube-system
  - kube-public
  - spire
  - local-path-storage
";

const LEAST: &str = "clusterName: c\ntrustDomain: example.org\n";

fn raw(text: &str) -> Result<RawController, ConfigError> {
    let bytes = text.as_bytes().to_vec();
    RawController::read(&Source::new(Path::new("c.yaml"), bytes, Environment::Literal)?)
}

fn validated(text: &str) -> Result<Validated, ConfigError> {
    raw(text)?.validate(&Surroundings::default())
}

fn config(text: &str) -> ControllerConfig {
    validated(text).unwrap().config
}

fn refusal(text: &str) -> String {
    validated(text).unwrap_err().to_string()
}

#[test]
fn the_file_of_upstreams_chart_is_taken_as_it_is() {
    let config = config(CHART);
    assert_eq!(&*config.settings.cluster_name, "example-cluster");
    assert_eq!(config.ownership, Ownership::new("example-cluster", None).unwrap());
    assert_eq!(config.full_pass, Duration::from_secs(10));
    assert_eq!(config.metrics, Some(SocketAddr::from(([0; 4], 8082))));
    let health = config.health.unwrap();
    assert_eq!(
        (health.bind.port(), health.live_path.as_str(), health.ready_path.as_str()),
        (8083, "/healthz", "/readyz")
    );
    assert!(config.settings.class.watch_classless);
    let lease = config.lease.unwrap();
    assert_eq!((lease.duration.as_secs(), lease.namespace.as_deref()), (15, Some("spire-server")));
    assert_eq!(config.socket_path, Path::new("/tmp/spire-server/private/api.sock"));
    assert_eq!(config.webhook.unwrap().bind.port(), 9443);
}

#[test]
fn the_file_of_istios_quick_start_is_taken_as_it_is() {
    let config = config(QUICK_START);
    assert_eq!(config.health.unwrap().bind, SocketAddr::from(([127, 0, 0, 1], 8083)));
    assert_eq!(config.lease.unwrap().namespace.as_deref(), Some("spire"));
    assert_eq!(config.socket_path, Path::new("/spire-server/api.sock"));
}

#[test]
fn a_file_that_says_little_gets_upstreams_defaults() {
    let config = config(LEAST);
    assert!(config.settings.ignores("my-kube-system-x") && !config.settings.ignores("prod"));
    assert_eq!(config.socket_path, Path::new("/spire-server/api.sock"));
    assert_eq!((config.metrics, config.health, config.lease), (None, None, None));
    assert_eq!(config.full_pass, Duration::from_secs(600));
    // Upstream: with no class of its own a controller takes the classless objects.
    assert!(config.settings.class.accepts(""));
    assert_eq!((config.settings.spiffe_ids, config.federations), (Acted::Upon, Acted::Upon));
}

#[test]
fn a_block_of_kinds_names_all_that_are_looked_at() {
    let config = config(&format!("{LEAST}reconcile: {{clusterSPIFFEIDs: true}}"));
    assert_eq!(
        (config.settings.spiffe_ids, config.settings.static_entries, config.federations),
        (Acted::Upon, Acted::Not, Acted::Not)
    );
}

#[test]
fn an_unknown_key_is_refused_by_name_and_place() {
    let text = refusal(&format!("{LEAST}clusterDomian: cluster.local\n"));
    assert!(text.contains("clusterDomian") && text.contains("line 3"), "{text}");
    assert!(refusal(&format!("{LEAST}webhook: {{prot: 1}}")).contains("prot"));
}

#[test]
fn values_that_cannot_work_are_refused_with_what_was_expected() {
    for (extra, expected) in [
        ("kind: Pod", "kind \"Pod\""),
        ("metrics: {bindAddress: here}", "metrics.bindAddress is \"here\""),
        ("health: {healthProbeBindAddress: '1.2.3.4:99999'}", "health.healthProbeBindAddress"),
        ("webhook: {port: 70000}", "webhook.port is 70000"),
        ("ignoreNamespaces: ['(']", "ignoreNamespaces has \"(\""),
        ("logLevel: loud", "logLevel is \"loud\""),
        ("logEncoding: xml", "logEncoding is \"xml\""),
        ("gcInterval: -1", "negative"),
        ("gcInterval: soon", "duration"),
        ("entryIDPrefix: 'a b'", "entryIDPrefix \"a b"),
        ("entryIDPrefix: a\nentryIDPrefixCleanup: a", "as is entryIDPrefix"),
        ("entryIDPrefixCleanup: ''", "needs entryIDPrefix"),
        ("parentIDTemplate: '{{ .PodMeta }'", "parentIDTemplate"),
        ("staticManifestPath: /manifests", "staticManifestPath is a setting"),
        ("cacheNamespace: a\ncacheNamespaces: {b: }", "exclude each other"),
        ("leaderElection: {leaderElect: true}", "leaderElection.resourceName is required"),
        (
            "leaderElection: {leaderElect: true, resourceName: a, renewDeadline: 20s}",
            "leaseDuration above",
        ),
        ("grpc: {maxCallRecvMsgSize: 7}", "grpc.maxCallRecvMsgSize is 7"),
        ("podAnnotations: true\npodAnnotationTrustDomains: ['A B']", "podAnnotationTrustDomains"),
    ] {
        let text = refusal(&format!("{LEAST}{extra}"));
        assert!(text.contains(expected), "{extra}: {text}");
    }
    assert_eq!(refusal("clusterName: c"), "trust domain is required configuration");
    assert_eq!(refusal("trustDomain: example.org"), "cluster name is required configuration");
}

#[test]
fn namespaces_are_watched_with_their_selectors() {
    let text = "cacheNamespaces: {a: {labelSelectors: {x: '1', y: '2'}}, b: }";
    let scopes = config(&format!("{LEAST}{text}")).namespaces;
    assert_eq!(scopes[0].label_selector, "x=1,y=2");
    assert_eq!((scopes[1].name.as_str(), scopes[1].label_selector.as_str()), ("b", ""));
}

#[test]
fn flags_and_environment_have_their_say() {
    let surroundings = Surroundings {
        socket_flag: "/flag.sock".into(),
        kubeconfig: Some("/k".into()),
        enable_webhooks: Some("false".into()),
        resolv_conf: "search a.svc.cluster.local svc.cluster.local cluster.local".into(),
        log_level: Some("2".into()),
        log_encoding: Some("json".into()),
    };
    let config = raw(LEAST).unwrap().validate(&surroundings).unwrap().config;
    assert_eq!(config.socket_path, Path::new("/flag.sock"));
    assert_eq!(config.access, Access::Kubeconfig("/k".into()));
    assert_eq!((config.webhook, &*config.settings.cluster_domain), (None, "cluster.local"));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, Format::Json));
    let named = raw(&format!("{LEAST}spireServerSocketPath: /file.sock")).unwrap();
    assert_eq!(named.validate(&surroundings).unwrap().config.socket_path, Path::new("/file.sock"));
}

#[test]
fn what_does_nothing_here_is_told() {
    let text = format!("{LEAST}syncPeriod: 10h\nwebhook: {{certDir: /certs}}\n");
    assert_eq!(validated(&text).unwrap().idle, ["syncPeriod", "webhook.certDir"]);
}
