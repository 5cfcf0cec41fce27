//! Entries that no administrator should write (reliability-security.md §4 B-REG): each is refused with
//! its reason, in its place of the batch, and leaves nothing behind.

use super::{Api, spec, wire};
use finial::wire::proto::spire::api::{
    server::entry::v1::{
        BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
        BatchUpdateEntryRequest, batch_create_entry_response::Result as Item,
    },
    types::{Entry, EntryMask, Selector, Spiffeid},
};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use tonic::Code;

async fn create(api: &Api, entries: Vec<Entry>) -> Vec<Item> {
    let request = BatchCreateEntryRequest { entries, output_mask: None };
    let answer = api.client.clone().batch_create_entry(request).await;
    let BatchCreateEntryResponse { results } = answer.unwrap().into_inner();
    results
}

fn status(item: &Item) -> (Code, &str) {
    let status = item.status.as_ref().expect("every item has a status");
    (Code::from(status.code), &status.message)
}

/// Puts each entry between two good ones and expects its refusal to contain the words beside it.
async fn refuses(cases: Vec<(Entry, &str)>) {
    let api = Api::new().await;
    let between = [wire("/before"), wire("/after")];
    let mut entries = vec![between[0].clone()];
    entries.extend(cases.iter().map(|(entry, _)| entry.clone()));
    entries.push(between[1].clone());
    let results = create(&api, entries).await;
    assert_eq!(results.len(), cases.len() + 2);
    for ((entry, words), result) in cases.iter().zip(&results[1..]) {
        let (code, message) = status(result);
        assert_eq!((code, &result.entry), (Code::InvalidArgument, &None), "{entry:?}: {message}");
        assert!(message.starts_with("failed to c"), "{message}");
        assert!(message.contains(words), "{message}, expected {words:?}");
    }
    for good in [&results[0], &results[results.len() - 1]] {
        assert_eq!(status(good), (Code::Ok, "OK"));
    }
    assert_eq!(api.store.entry_count(), 2);
}

fn with_selectors(selectors: impl IntoIterator<Item = (String, String)>) -> Entry {
    let selectors = selectors.into_iter().map(|(r#type, value)| Selector { r#type, value });
    Entry { selectors: selectors.collect(), ..wire("/x") }
}

#[tokio::test]
async fn an_entry_of_nothing_and_selectors_that_select_nothing_are_refused() {
    let one = |kind: &str, value: &str| with_selectors([(kind.to_owned(), value.to_owned())]);
    let many = (0..1_000).map(|number| ("unix".to_owned(), format!("uid:{number}")));
    refuses(vec![
        (Entry::default(), "request must specify SPIFFE ID"),
        (with_selectors([]), "selector list is empty"),
        (one("", "uid:1"), "selector type"),
        (one("a:b", "c"), "contains ':'"),
        (one(&"t".repeat(256), "x"), "256"),
        (one("unix", ""), "selector value"),
        (one("unix", &"v".repeat(65_536)), "65536"),
        (with_selectors(many), "1000 selectors, expected at most 128"),
    ])
    .await;
}

#[tokio::test]
async fn every_broken_rule_of_a_spiffe_id_refuses_identity_and_parent() {
    let long = format!("/{}", "p".repeat(2_048));
    let mut cases = Vec::new();
    for (trust_domain, path) in [
        ("", "/w"),
        ("Example.org", "/w"),
        ("example.org:443", "/w"),
        ("user@example.org", "/w"),
        ("other.org", "/w"),
        ("example.org", ""),
        ("example.org", "w"),
        ("example.org", "/"),
        ("example.org", "/a//b"),
        ("example.org", "/a/"),
        ("example.org", "/a/../b"),
        ("example.org", "/./b"),
        ("example.org", "/%41"),
        ("example.org", "/a?b"),
        ("example.org", "/a#b"),
        ("example.org", "/a b"),
        ("example.org", "/\u{e9}"),
        ("example.org", "/\u{0}"),
        ("example.org", long.as_str()),
    ] {
        let id = Some(Spiffeid { trust_domain: trust_domain.to_owned(), path: path.to_owned() });
        cases.push((Entry { spiffe_id: id.clone(), ..wire("/x") }, "invalid spiffe ID: "));
        cases.push((Entry { parent_id: id, ..wire("/x") }, "invalid parent ID: "));
    }
    for reserved in ["/spire", "/spire/server", "/spire/agent/join_token/t", "/spire/x"] {
        cases.push((wire(reserved), "path is in the reserved namespace"));
    }
    let own_parent = Entry { parent_id: wire("/x").spiffe_id, ..wire("/x") };
    cases.push((own_parent, "itself or one of its descendants"));
    refuses(cases).await;
}

#[tokio::test]
async fn dns_names_that_no_certificate_should_carry_are_refused_by_name() {
    let (long_label, long_name) = ("l".repeat(64), vec!["l".repeat(63); 4].join("."));
    let cases = [
        (&[""][..], "empty or only whitespace"),
        (&["  "], "empty or only whitespace"),
        (&[long_name.as_str()], "name length exceeded: 255 bytes"),
        (&[long_label.as_str()], "label length exceeded"),
        (&["a.example."], r#""a.example.""#),
        (&[".example"], r#"".example""#),
        (&["*.*.example"], "too many wildcards"),
        (&["a.*.example"], "wildcard must be first label"),
        (&["*"], "wildcard must be first label"),
        (&["b\u{fc}cher.example"], "b\u{fc}cher"),
        (&["xn--abc-.example"], "xn--abc-"),
        (&["under_score.example"], "under_score"),
        (&["10.0.0.1"], "10.0.0.1 is an IP address"),
        (&["::1"], "::1"),
        (&["x.a.example", "*.a.example"], "wildcard *.a.example covers x.a.example"),
    ];
    let cases = cases.map(|(names, words)| {
        let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        (Entry { dns_names, ..wire("/x") }, words)
    });
    refuses(cases.to_vec()).await;
}

#[tokio::test]
async fn lives_hints_names_and_trust_domains_out_of_bounds_are_refused() {
    let federated = |name: &str| Entry { federates_with: vec![name.to_owned()], ..wire("/x") };
    let hinted = |hint: &str| Entry { hint: hint.to_owned(), ..wire("/x") };
    let called = |id: &str| Entry { id: id.to_owned(), ..wire("/x") };
    refuses(vec![
        (Entry { x509_svid_ttl: -1, ..wire("/x") }, "x509_svid_ttl is -1"),
        (Entry { jwt_svid_ttl: i32::MIN, ..wire("/x") }, "jwt_svid_ttl is -2147483648"),
        (hinted(&"h".repeat(1_025)), "hint is too long, max length is 1024 characters"),
        (hinted("\u{1b}[2J"), "hint contains control characters"),
        (federated(""), "invalid federated trust domain: "),
        (federated("Other.org"), "invalid federated trust domain: "),
        (federated("https://other.org"), "invalid federated trust domain: "),
        (federated("example.org"), r#""example.org" is the server's own"#),
        (called(&"i".repeat(256)), "entry ID too long"),
        (called("a/b"), "entry ID contains invalid characters"),
    ])
    .await;
}

#[tokio::test]
async fn a_duplicate_is_told_with_the_entry_that_is_there_whatever_the_order_of_its_selectors() {
    let api = Api::new().await;
    let pair = |first: &str, second: &str| {
        let selector = |value: &str| ("unix".to_owned(), value.to_owned());
        with_selectors([selector(first), selector(second), selector(first)])
    };
    let results = create(&api, vec![pair("uid:1", "gid:1"), pair("gid:1", "uid:1")]).await;
    assert_eq!(status(&results[1]), (Code::AlreadyExists, "similar entry already exists"));
    assert_eq!(results[0].entry, results[1].entry);
    assert_eq!(api.store.entry_count(), 1);
}

#[tokio::test]
async fn batches_of_none_and_of_ten_thousand_are_answered_item_by_item() {
    let mut api = Api::new().await;
    assert_eq!(create(&api, Vec::new()).await, []);
    for count in [501, 10_000] {
        // A real SPIRE's command line sends a whole file as one batch.
        let entries = (0..count).map(|number| wire(&format!("/{count}/{number}"))).collect();
        let results = create(&api, entries).await;
        assert_eq!(results.len(), count);
        assert!(results.iter().all(|item| status(item) == (Code::Ok, "OK")));
    }
    let (update, delete) = (BatchUpdateEntryRequest::default(), BatchDeleteEntryRequest::default());
    assert!(api.client.batch_update_entry(update).await.unwrap().into_inner().results.is_empty());
    assert!(api.client.batch_delete_entry(delete).await.unwrap().into_inner().results.is_empty());
    assert_eq!(api.store.entry_count(), 10_501);
}

#[tokio::test]
async fn of_updates_at_once_each_counts_one_revision_and_none_is_lost() {
    let api = Api::new().await;
    create(&api, vec![Entry { id: "e".to_owned(), ..wire("/x") }]).await;
    let updates = (0..64).map(|number| {
        let entry = Entry { id: "e".to_owned(), hint: format!("{number}"), ..Entry::default() };
        let input_mask = Some(EntryMask { hint: true, ..EntryMask::default() });
        let entries = vec![entry];
        let request = BatchUpdateEntryRequest { entries, input_mask, output_mask: None };
        let mut client = api.client.clone();
        async move {
            let answer = client.batch_update_entry(request).await.unwrap().into_inner();
            answer.results.into_iter().next().unwrap().entry.unwrap()
        }
    });
    let updated = join_all(updates).await;
    let revisions: BTreeSet<_> = updated.iter().map(|entry| entry.revision_number).collect();
    assert_eq!(revisions, (1..=64).collect());
    let last = updated.into_iter().max_by_key(|entry| entry.revision_number).unwrap();
    let stored = api.store.entries();
    assert_eq!((stored[0].revision, stored[0].spec.hint.as_str()), (64, last.hint.as_str()));
    assert_eq!(stored[0].spec.spiffe_id, spec("/x").spiffe_id);
}
