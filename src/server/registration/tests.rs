use super::*;
use crate::{
    runtime::Clock,
    server::store::StoreConfig,
    spiffe::{Selector, entry::Hint},
};

fn registration() -> Registration {
    let store = Store::open(&StoreConfig::Memory, Clock::system()).unwrap();
    let domain = TrustDomain::parse("example.org").unwrap();
    let authorized = Authorized::new(store.clone(), &domain, Clock::system());
    Registration::new(store, authorized, domain)
}

fn spec(parent: &str, identity: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: SpiffeId::parse(identity).unwrap(),
        parent_id: SpiffeId::parse(parent).unwrap(),
        selectors: [Selector::parse("unix:uid:1").unwrap()].into_iter().collect(),
        x509_svid_ttl_secs: 0,
        jwt_svid_ttl_secs: 0,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: 0,
        dns_names: Vec::new(),
        store_svid: false,
        hint: Hint::default(),
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: false,
    }
}

fn with_dns(names: &[&str]) -> EntrySpec {
    let dns_names = names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
    EntrySpec { dns_names, ..spec("spiffe://example.org/node", "spiffe://example.org/dns") }
}

async fn create(registration: &Registration, spec: EntrySpec) -> Result<EntryId, String> {
    match registration.create(vec![NewEntry { id: None, spec }]).await.remove(0) {
        Ok(Created::New(entry) | Created::Similar(entry)) => Ok(entry.id.clone()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn ids_that_are_not_ours_to_give_are_refused_in_spires_words() {
    let registration = registration();
    for (parent, identity, refusal) in [
        (
            "spiffe://example.org/node",
            "spiffe://other.org/w",
            r#"invalid spiffe ID: "spiffe://other.org/w" is not a member of trust domain "example.org""#,
        ),
        (
            "spiffe://example.org/node",
            "spiffe://example.org",
            r#"invalid spiffe ID: "spiffe://example.org" is not a workload in trust domain "example.org"; path is empty"#,
        ),
        (
            "spiffe://example.org/node",
            "spiffe://example.org/spire/agent/x",
            r#"invalid spiffe ID: "spiffe://example.org/spire/agent/x" is not a workload in trust domain "example.org"; path is in the reserved namespace"#,
        ),
        (
            "spiffe://other.org/node",
            "spiffe://example.org/w",
            r#"invalid parent ID: "spiffe://other.org/node" is not a member of trust domain "example.org""#,
        ),
        (
            "spiffe://example.org",
            "spiffe://example.org/w",
            r#"invalid parent ID: "spiffe://example.org" is not a member of trust domain "example.org"; path is empty"#,
        ),
    ] {
        assert_eq!(create(&registration, spec(parent, identity)).await.unwrap_err(), refusal);
    }
    let below_an_agent = spec("spiffe://example.org/spire/agent/x", "spiffe://example.org/w");
    create(&registration, below_an_agent).await.unwrap();
}

#[tokio::test]
async fn an_entry_cannot_become_its_own_ancestor() {
    let registration = registration();
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("spiffe://example.org/{name}"));
    assert!(create(&registration, spec(&a, &a)).await.unwrap_err().contains("invalid parent ID"));
    create(&registration, spec(&a, &b)).await.unwrap();
    let below = create(&registration, spec(&b, &c)).await.unwrap();
    let refused = create(&registration, spec(&c, &a)).await.unwrap_err();
    assert_eq!(
        refused,
        r#"invalid parent ID: "spiffe://example.org/c" is "spiffe://example.org/a" itself or one of its descendants"#
    );
    let rename =
        EntryPatch { spiffe_id: Some(SpiffeId::parse(&a).unwrap()), ..EntryPatch::default() };
    let renamed = registration.update(vec![(below, rename)]).await.remove(0);
    assert!(matches!(renamed, Err(RegistrationError::Cycle { .. })));
}

#[tokio::test]
async fn a_wildcard_must_not_cover_another_name() {
    let registration = registration();
    assert_eq!(
        create(&registration, with_dns(&["a.b.c", "*.b.c"])).await.unwrap_err(),
        "invalid DNS name: wildcard *.b.c covers a.b.c"
    );
    create(&registration, with_dns(&["a.a.b.c", "*.b.c", "b.c", "*.c.d"])).await.unwrap();
}

#[tokio::test]
async fn a_workload_does_not_federate_with_its_own_trust_domain() {
    let registration = registration();
    let own = EntrySpec {
        federates_with: vec![TrustDomain::parse("example.org").unwrap()],
        ..with_dns(&[])
    };
    assert_eq!(
        create(&registration, own).await.unwrap_err(),
        "invalid federated trust domain: \"example.org\" is the server's own"
    );
}

#[tokio::test]
async fn refused_items_keep_their_place_among_the_others() {
    let registration = registration();
    let identity = |path: &str| format!("spiffe://example.org{path}");
    let news = ["/1", "/spire/x", "/2", "/spire/y", "/1"]
        .map(|path| NewEntry { id: None, spec: spec(&identity("/node"), &identity(path)) });
    let results = registration.create(news.to_vec()).await;
    assert!(matches!(
        results.as_slice(),
        [
            Ok(Created::New(_)),
            Err(RegistrationError::SpiffeId(_)),
            Ok(Created::New(_)),
            Err(RegistrationError::SpiffeId(_)),
            Ok(Created::Similar(_)),
        ]
    ));
    registration.store().shutdown().await;
    let results = registration.create(news.to_vec()).await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().unwrap_err().kind()).collect();
    use Kind::{Invalid, Unavailable};
    assert_eq!(kinds, [Unavailable, Invalid, Unavailable, Invalid, Unavailable]);
}
