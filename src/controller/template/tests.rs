//! Templates that users have, with what Go gives for them.

use super::*;
use crate::controller::{
    settings::Settings,
    world::{Container, Labels, Node, Phase, Pod, PodSpec, Port},
};
use std::sync::Arc;

fn node() -> Node {
    Node {
        uid: "node-uid".into(),
        name: "node-1".into(),
        labels: Labels::from_iter([("zone", "z1")]),
        annotations: Labels::default(),
        pod_cidr: "10.0.0.0/24".into(),
        pod_cidrs: vec!["10.0.0.0/24".into()],
        provider_id: "kind://1".into(),
        unschedulable: false,
    }
}

fn port(name: &str, number: i32) -> Port {
    Port { name: name.into(), container_port: number, ..Port::default() }
}

fn container(name: &str, image: &str, ports: Vec<Port>) -> Container {
    Container { name: name.into(), image: image.into(), ports, ..Container::default() }
}

fn pod() -> Pod {
    Pod {
        uid: "pod-uid".into(),
        namespace: "shop".into(),
        name: "web-0".into(),
        generate_name: "web-".into(),
        node: Some("node-1".into()),
        phase: Phase::Live,
        labels: Labels::from_iter([("app.kubernetes.io/name", "web"), ("zone", "eu")]),
        annotations: Labels::from_iter([("spiffe.io/extra", "blue"), ("odd", "a/../b")]),
        owners: Arc::new([]),
        hostname: "".into(),
        spec: Arc::new(PodSpec {
            service_account_name: "front".into(),
            containers: vec![
                container("app", "web:1", vec![port("http", 80), port("admin", 81)]),
                container("side", "proxy:2", vec![port("http", 90)]),
            ],
            ..PodSpec::default()
        }),
    }
}

fn settings() -> Settings {
    Settings::of_test("example.org")
}

fn render(source: &str) -> Result<String, String> {
    let template = Template::compile(source, Subject::Pod).map_err(|error| error.to_string())?;
    let data = Data::of_pod(&settings(), &node(), &pod());
    template.render(&data).map_err(|error| error.to_string())
}

#[test]
fn templates_of_the_guides_give_what_go_gives() {
    for (source, text) in [
        (
            "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
            "spiffe://example.org/ns/shop/sa/front",
        ),
        (
            "spiffe://{{.TrustDomain}}/ns/{{.PodMeta.Namespace}}/sa/{{.PodSpec.ServiceAccountName}}",
            "spiffe://example.org/ns/shop/sa/front",
        ),
        (
            "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}",
            "spiffe://example.org/spire/agent/k8s_psat/test/node-uid",
        ),
        (
            "{{ .PodSpec.ServiceAccountName }}.{{ .PodMeta.Namespace }}.svc.{{ .ClusterDomain }}",
            "front.shop.svc.cluster.local",
        ),
        ("k8s:ns:{{ .PodMeta.Namespace }}", "k8s:ns:shop"),
        (r#"{{ index .PodMeta.Labels "app.kubernetes.io/name" }}"#, "web"),
        (r#"{{ index .PodMeta.Annotations "spiffe.io/extra" }}"#, "blue"),
        ("{{ index .PodMeta.Labels `app.kubernetes.io/name` }}", "web"),
        ("{{ .PodMeta.Labels.zone }}", "eu"),
        (
            r#"a{{ with (index .PodMeta.Annotations "spiffe.io/extra") }}.{{ . }}{{ end }}"#,
            "a.blue",
        ),
        (r#"a{{ with (index .PodMeta.Annotations "none") }}.{{ . }}{{ end }}"#, "a"),
        (
            r#"{{ if eq .PodMeta.Namespace "shop" }}s{{ else if .PodMeta.Name }}n{{ else }}x{{ end }}"#,
            "s",
        ),
        (
            "{{ range .PodSpec.Containers }}{{ .Name }}={{ range .Ports }}{{ .ContainerPort }}@{{ $.PodMeta.Name }},{{ end }}{{ end }}",
            "app=80@web-0,81@web-0,side=90@web-0,",
        ),
        ("x {{- .PodMeta.Name -}} y", "xweb-0y"),
        (r#"{{ printf "%s-%03d" .PodMeta.Name 7 }}"#, "web-0-007"),
        (r#"{{ "quo\"te" }}"#, "quo\"te"),
        ("{{/* why */}}{{ $n := .PodMeta.Name }}{{ $n }}", "web-0"),
        (
            "{{ range $i, $c := .PodSpec.Containers }}{{ $i }}{{ $c.Image }} {{ end }}",
            "0web:1 1proxy:2 ",
        ),
        (
            "{{ range $k, $v := .PodMeta.Labels }}{{ $k }}={{ $v }};{{ end }}",
            "app.kubernetes.io/name=web;zone=eu;",
        ),
        ("{{ range .PodSpec.InitContainers }}{{ .Name }}{{ else }}none{{ end }}", "none"),
        ("{{ range .PodSpec.Containers }}{{ .Name }}{{ break }}{{ end }}", "app"),
        (
            "{{ range .PodSpec.Containers }}{{ if eq .Name \"app\" }}{{ continue }}{{ end }}{{ .Name }}{{ end }}",
            "side",
        ),
        (
            r#"{{ define "sa" }}{{ .ServiceAccountName }}{{ end }}{{ template "sa" .PodSpec }}"#,
            "front",
        ),
        (r#"{{ block "b" .PodMeta }}{{ .Name }}{{ end }}"#, "web-0"),
        ("{{ (index .PodSpec.Containers 1).Name }}", "side"),
        ("{{ len .PodSpec.Containers }}{{ len .PodMeta.Labels }}", "22"),
        ("{{ slice .PodMeta.Name 0 3 }}", "web"),
        ("{{ or .PodSpec.Hostname .PodMeta.Name }}", "web-0"),
        ("{{ and .PodMeta.Name .PodMeta.Namespace }}", "shop"),
        ("{{ not .PodSpec.HostNetwork }}{{ ne 1 2 }}{{ lt 1 2 }}{{ ge 2 2 }}", "truetruetruetrue"),
        (r#"{{ urlquery "a b" }}{{ html "<" }}{{ js "'" }}{{ print "a" 1 }}"#, r"a+b&lt;\'a1"),
        ("{{ .PodMeta.Name | printf \"%s.%s\" .PodMeta.Namespace }}", "shop.web-0"),
        ("{{ 'a' }}{{ 1.5 }}{{ true }}", "971.5true"),
        ("{{ .NodeMeta.Labels.zone }}{{ .NodeSpec.ProviderID }}", "z1kind://1"),
        // Absent texts, numbers and maps are Go's zero values.
        ("[{{ .PodSpec.Hostname }}{{ .PodMeta.GenerateName }}{{ .PodSpec.Subdomain }}]", "[web-]"),
        (r#"[{{ index .PodMeta.Labels "none" }}{{ index .PodSpec.NodeSelector "x" }}]"#, "[]"),
        ("{{ if .PodMeta.Labels.none }}yes{{ else }}no{{ end }}", "no"),
    ] {
        assert_eq!(render(source).as_deref(), Ok(text), "{source}");
    }
}

#[test]
fn what_has_no_value_is_an_error() {
    for source in [
        "{{ .PodMeta.Labels.none }}",
        r#"{{ printf "%s" .PodMeta.Labels.none }}"#,
        "{{ .PodSpec.RuntimeClassName }}",
        r#"k8s:x:{{ println .PodSpec.Priority }}"#,
    ] {
        let refused = render(source).unwrap_err();
        assert!(refused.contains("has no value"), "{source}: {refused}");
    }
}

#[test]
fn what_go_would_refuse_is_refused_when_compiled() {
    for (source, reason) in [
        ("{{ .PodMeta.Nam }}", "ObjectMeta has no field Nam"),
        ("{{ .PodMeta.name }}", "ObjectMeta has no field name"),
        ("{{ .Podmeta.Name }}", "template data has no field Podmeta"),
        ("{{ if .PodSpec.Nope }}x{{ end }}", "PodSpec has no field Nope"),
        ("{{ .PodMeta.GetName }}", "methods cannot be called"),
        ("{{ .PodMeta.Name.Length }}", "a string has no fields"),
        ("{{ .PodSpec.Containers.Name }}", "a list has no fields"),
        ("{{ range .PodSpec.Containers }}{{ .Nam }}{{ end }}", "Container has no field Nam"),
        ("{{ $c := index .PodSpec.Containers 0 }}{{ $c.Nam }}", "Container has no field Nam"),
        ("{{ (index .PodSpec.Containers 0).Nam }}", "Container has no field Nam"),
        ("{{ with .PodSpec }}{{ .Name }}{{ end }}", "PodSpec has no field Name"),
        (r#"{{ define "a" }}{{ .Nope }}{{ end }}{{ template "a" .PodMeta }}"#, "no field Nope"),
        ("{{ .PodSpec.Volumes }}", "does not keep the field Volumes"),
        ("{{ range .PodSpec.Containers }}{{ .Env }}{{ end }}", "does not keep the field Env"),
        (r#"{{ index .PodMeta "Name" }}"#, "cannot be indexed"),
        ("{{ lower .PodMeta.Name }}", "no function lower"),
        ("{{ .PodMeta.Name | default \"x\" }}", "no function default"),
        (r#"{{ template "none" . }}"#, "no template \"none\""),
        (r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#, "invokes itself"),
        ("{{ .PodMeta.Name", "unclosed action"),
        ("a{{ end }}b", "outside of every block"),
        ("a{{ else }}b", "outside of every block"),
        ("{{ if .PodMeta.Name }}a", "has no {{ end }}"),
        (r#"{{ define "a" }}a"#, "has no {{ end }}"),
    ] {
        let refused = render(source).unwrap_err();
        assert!(refused.contains(reason), "{source}: {refused}");
    }
}

#[test]
fn a_template_about_a_node_knows_no_pod() {
    let compile = |source| Template::compile(source, Subject::Node);
    assert!(compile("{{ .PodMeta.Name }}").unwrap_err().to_string().contains("node alone"));
    let template = compile(crate::controller::settings::DEFAULT_PARENT_ID_TEMPLATE).unwrap();
    let text = template.render(&Data::of_node(&settings(), &node())).unwrap();
    assert_eq!(text, "spiffe://example.org/spire/agent/k8s_psat/test/node-uid");
}

#[test]
fn output_and_steps_are_bounded() {
    let long =
        render("{{ range 1000 }}{{ $.PodMeta.UID }}{{ $.PodMeta.UID }}{{ end }}").unwrap_err();
    assert!(long.contains("more than 8192 bytes"), "{long}");
    assert!(render("{{ range 100000 }}{{ end }}").is_err());
    assert!(render(&" ".repeat(20_000)).unwrap_err().contains("at most 16384"));
    let doubling: String = (0..30)
        .map(|n| format!("{{{{define \"t{n}\"}}}}{{{{template \"t{0}\"}}}}{{{{template \"t{0}\"}}}}{{{{end}}}}", n + 1))
        .chain(["{{define \"t30\"}}x{{end}}{{template \"t0\"}}".to_owned()])
        .collect();
    assert!(render(&doubling).unwrap_err().contains("more than 4000 parts"));
}

#[test]
fn every_field_of_the_shapes_has_data() {
    let data = Data::of_pod(&settings(), &node(), &pod());
    for path in [
        "PodMeta.Name",
        "PodMeta.OwnerReferences",
        "PodSpec.SetHostnameAsFQDN",
        "PodSpec.NodeName",
        "NodeMeta.Namespace",
        "NodeSpec.PodCIDRs",
        "ClusterName",
    ] {
        let value =
            path.split('.').try_fold(data.value().clone(), |v, name| v.field(name).cloned());
        assert!(value.is_some(), "{path}");
    }
}
