//! Pages, filters and counts.

use super::{Api, id, spec};
use finial::{
    server::store::{NewEntry, Store},
    spiffe::{EntryId, EntrySpec, Selector, dns::DnsName, entry::Hint},
    wire::proto::spire::api::{
        server::entry::v1::{
            CountEntriesRequest, EntryFilter, ListEntriesRequest, ListEntriesResponse,
        },
        types::{self, FederatesWithMatch, SelectorMatch},
    },
};
use prost::Message;
use tonic::{Code, Status};

async fn page(
    api: &mut Api,
    page_size: i32,
    page_token: &str,
    filter: Option<EntryFilter>,
) -> Result<ListEntriesResponse, Status> {
    let page_token = page_token.to_owned();
    let request = ListEntriesRequest { filter, output_mask: None, page_size, page_token };
    api.client.list_entries(request).await.map(tonic::Response::into_inner)
}

/// The ids of every page, following the tokens.
async fn pages(api: &mut Api, page_size: i32, filter: Option<EntryFilter>) -> Vec<Vec<String>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(api, page_size, &token, filter.clone()).await.unwrap();
        pages.push(page.entries.into_iter().map(|entry| entry.id).collect());
        token = page.next_page_token;
        if token.is_empty() {
            return pages;
        }
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("e{number:06}")).collect()
}

#[tokio::test]
async fn pages_hold_each_entry_once_and_the_last_one_has_no_token() {
    let mut api = Api::with_entries(10).await;
    assert_eq!(pages(&mut api, 4, None).await, [names(0..4), names(4..8), names(8..10)]);
    assert_eq!(pages(&mut api, 5, None).await, [names(0..5), names(5..10)]);
    assert_eq!(pages(&mut api, 0, None).await, [names(0..10)]);
    let mut empty = Api::new().await;
    assert_eq!(pages(&mut empty, 5, None).await, [names(0..0)]);
}

#[tokio::test]
async fn a_page_is_bounded_in_rows_and_everything_at_once_is_not() {
    let mut api = Api::with_entries(2_500).await;
    let sizes: Vec<_> = pages(&mut api, 1_000_000_000, None).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000, 1_000, 500]);
    assert_eq!(pages(&mut api, 0, None).await, [names(0..2_500)]);
}

/// About 260 KB.
fn large(number: usize) -> EntrySpec {
    let selector = |index| Selector::new("x", &format!("{index:0>2048}")).unwrap();
    EntrySpec { selectors: (0..126).map(selector).collect(), ..spec(&format!("/large/{number}")) }
}

async fn fill(store: &Store, specs: impl Iterator<Item = EntrySpec>) {
    let news = specs.enumerate().map(|(number, spec)| NewEntry {
        id: Some(EntryId::parse(&format!("e{number:06}")).unwrap()),
        spec,
    });
    let results = store.create_entries(news.collect()).await.unwrap();
    results.into_iter().for_each(|result| drop(result.unwrap()));
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let mut api = Api::new().await;
    fill(&api.store, (0..10).map(large)).await;
    let first = page(&mut api, 1_000, "", None).await.unwrap();
    assert!(!first.entries.is_empty() && first.encoded_len() < 1 << 20);
    assert_eq!(pages(&mut api, 1_000, None).await.concat(), names(0..10));
}

#[tokio::test]
async fn what_is_too_much_for_one_answer_is_to_be_asked_for_in_pages() {
    let mut api = Api::new().await;
    fill(&api.store, (0..270).map(large)).await;
    let refused = page(&mut api, 0, "", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("list them in pages"), "{refused}");
    assert!(!page(&mut api, 500, "", None).await.unwrap().next_page_token.is_empty());
}

#[tokio::test]
async fn a_page_survives_deletes_and_creates_between_its_parts() {
    let mut api = Api::with_entries(6).await;
    let first = page(&mut api, 3, "", None).await.unwrap();
    let gone = ["e000002", "e000003"].map(|id| EntryId::parse(id).unwrap());
    api.store.delete_entries(gone.to_vec()).await.unwrap();
    let second = page(&mut api, 3, &first.next_page_token, None).await.unwrap();
    let ids: Vec<_> = second.entries.into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids, names(4..6));
}

#[tokio::test]
async fn bad_pages_are_refused() {
    let mut api = Api::with_entries(1).await;
    for token in ["x", "-1", "1.5", "99999999999999999999", " 1"] {
        let refused = page(&mut api, 5, token, None).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(
            refused.message(),
            format!("failed to list entries: could not parse token '{token}'")
        );
    }
    let past_the_end = page(&mut api, 5, "9223372036854775807", None).await.unwrap();
    assert_eq!(past_the_end, ListEntriesResponse::default());
    assert_eq!(page(&mut api, -1, "", None).await.unwrap_err().code(), Code::InvalidArgument);
}

fn selector(text: &str) -> types::Selector {
    (&Selector::parse(text).unwrap()).into()
}

/// One entry for each filter.
async fn filtered() -> Api {
    let api = Api::new().await;
    let with = |texts: &[&str]| texts.iter().map(|text| Selector::parse(text).unwrap()).collect();
    let specs = [
        spec("/plain"),
        EntrySpec { selectors: with(&["unix:uid:1", "unix:gid:1"]), ..spec("/two") },
        EntrySpec { hint: Hint::parse("int").unwrap(), ..spec("/hint") },
        EntrySpec { downstream: true, ..spec("/down") },
        EntrySpec { parent_id: id("/other"), ..spec("/elsewhere") },
        EntrySpec { dns_names: vec![DnsName::parse("a.b").unwrap()], ..spec("/dns") },
    ];
    fill(&api.store, specs.into_iter()).await;
    api
}

/// The numbers of the entries that a filter accepts, as a list and as a count say.
async fn accepted(api: &mut Api, filter: EntryFilter) -> Vec<usize> {
    // Pages of one: a filter must not end a listing early (SPIRE does for `by_downstream`).
    let listed = pages(api, 1, Some(filter.clone())).await.concat();
    let request = CountEntriesRequest { filter: Some(filter) };
    let count = api.client.count_entries(request).await.unwrap().into_inner().count;
    assert_eq!(usize::try_from(count).unwrap(), listed.len());
    listed.iter().map(|id| id.trim_start_matches('e').parse().unwrap()).collect()
}

#[tokio::test]
async fn each_filter_keeps_what_it_names() {
    let mut api = filtered().await;
    let none = EntryFilter::default();
    let by_parent = EntryFilter { by_parent_id: Some((&id("/other")).into()), ..none.clone() };
    let by_id = EntryFilter { by_spiffe_id: Some((&id("/hint")).into()), ..none.clone() };
    let by_hint = EntryFilter { by_hint: Some("int".to_owned()), ..none.clone() };
    let by_no_hint = EntryFilter { by_hint: Some(String::new()), ..none.clone() };
    let by_downstream = EntryFilter { by_downstream: Some(true), ..none.clone() };
    let by_any_stream = EntryFilter { by_downstream: Some(false), ..none.clone() };
    let both = EntryFilter { by_downstream: Some(true), ..by_hint.clone() };
    let all = [0, 1, 2, 3, 4, 5];
    for (filter, expected) in [
        (none, &all[..]),
        (by_parent, &[4]),
        (by_id, &[2]),
        (by_hint, &[2]),
        (by_no_hint, &all),
        (by_downstream, &[3]),
        (by_any_stream, &all),
        (both, &[]),
    ] {
        assert_eq!(accepted(&mut api, filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn selectors_match_in_four_ways() {
    let mut api = filtered().await;
    let by = |texts: &[&str], behaviour| EntryFilter {
        by_selectors: Some(SelectorMatch {
            selectors: texts.iter().map(|text| selector(text)).collect(),
            r#match: behaviour,
        }),
        ..EntryFilter::default()
    };
    let (uid, gid) = ("unix:uid:1", "unix:gid:1");
    for (texts, behaviour, expected) in [
        (&[uid][..], 0, &[0, 2, 3, 4, 5][..]),
        (&[uid, gid], 0, &[1]),
        (&[uid, gid], 1, &[0, 1, 2, 3, 4, 5]),
        (&[gid], 1, &[]),
        (&[uid], 2, &[0, 1, 2, 3, 4, 5]),
        (&[uid, gid], 2, &[1]),
        (&[gid, "x:y"], 3, &[1]),
    ] {
        let found = accepted(&mut api, by(texts, behaviour)).await;
        assert_eq!(found, expected, "{texts:?} {behaviour}");
    }
}

#[tokio::test]
async fn malformed_filters_are_refused_in_spires_words() {
    let mut api = Api::new().await;
    let foreign = |path: &str| types::Spiffeid {
        trust_domain: "other.org".to_owned(),
        path: path.to_owned(),
    };
    let none = EntryFilter::default();
    for (filter, message) in [
        (
            EntryFilter { by_parent_id: Some(foreign("/p")), ..none.clone() },
            r#"malformed parent ID filter: "spiffe://other.org/p" is not a member of trust domain "example.org""#,
        ),
        (
            EntryFilter { by_spiffe_id: Some((&id("/spire/server")).into()), ..none.clone() },
            r#"malformed SPIFFE ID filter: "spiffe://example.org/spire/server" is not a workload in trust domain "example.org"; path is in the reserved namespace"#,
        ),
        (
            EntryFilter { by_selectors: Some(SelectorMatch::default()), ..none.clone() },
            "malformed selectors filter: empty selector set",
        ),
        (
            EntryFilter { by_federates_with: Some(FederatesWithMatch::default()), ..none.clone() },
            "malformed federates with filter: empty trust domain set",
        ),
        (
            EntryFilter {
                by_selectors: Some(SelectorMatch { selectors: vec![selector("a:b")], r#match: 9 }),
                ..none
            },
            "match behaviour 9 is unknown, expected 0 to 3",
        ),
    ] {
        let listed = page(&mut api, 1, "", Some(filter.clone())).await.unwrap_err();
        let request = CountEntriesRequest { filter: Some(filter) };
        let counted = api.client.count_entries(request).await.unwrap_err();
        for status in [listed, counted] {
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        }
    }
}
