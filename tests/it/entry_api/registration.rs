//! Creating, updating and deleting: codes and texts are those of a real SPIRE (spire-transcripts.md).

use super::{Api, id, spec, wire};
use finial::{
    spiffe::Bundle,
    testing::ca::TestCa,
    wire::proto::spire::api::{
        server::entry::v1::{
            BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest,
            GetEntryRequest,
        },
        types::{self, EntryMask, Selector, Spiffeid},
    },
};
use std::time::SystemTime;
use tonic::Code;

async fn create(
    api: &mut Api,
    entries: Vec<types::Entry>,
) -> Vec<(Code, String, Option<types::Entry>)> {
    let request = BatchCreateEntryRequest { entries, output_mask: None };
    let results = api.client.batch_create_entry(request).await.unwrap().into_inner().results;
    let answer = |status: types::Status| (Code::from(status.code), status.message);
    results
        .into_iter()
        .map(|result| {
            let (code, message) = answer(result.status.unwrap());
            (code, message, result.entry)
        })
        .collect()
}

fn selector(kind: &str, value: &str) -> Selector {
    Selector { r#type: kind.to_owned(), value: value.to_owned() }
}

fn named(path: &str, id: &str) -> types::Entry {
    types::Entry { id: id.to_owned(), ..wire(path) }
}

#[tokio::test]
async fn refusals_have_spires_codes_and_texts() {
    let mut api = Api::new().await;
    let foreign = Spiffeid { trust_domain: "other.org".to_owned(), path: "/w".to_owned() };
    let cases = [
        (
            types::Entry { spiffe_id: Some(foreign), ..wire("/w") },
            Code::InvalidArgument,
            r#"failed to convert entry: invalid spiffe ID: "spiffe://other.org/w" is not a member of trust domain "example.org""#,
        ),
        (
            wire("/spire/agent/x"),
            Code::InvalidArgument,
            r#"failed to convert entry: invalid spiffe ID: "spiffe://example.org/spire/agent/x" is not a workload in trust domain "example.org"; path is in the reserved namespace"#,
        ),
        (
            types::Entry { dns_names: vec!["*.*.bad".to_owned()], ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: invalid DNS name: too many wildcards",
        ),
        (
            types::Entry { federates_with: vec!["other.org".to_owned()], ..wire("/fed") },
            Code::Internal,
            r#"failed to create entry: unable to find federated bundle "spiffe://other.org""#,
        ),
        (
            types::Entry {
                selectors: vec![selector("unix", "uid:0"), selector("k8s", "ns:a")],
                store_svid: true,
                ..wire("/x")
            },
            Code::InvalidArgument,
            "failed to create entry: datastore-validation: invalid registration entry: selector types must be the same when store SVID is enabled",
        ),
        (
            named("/x", "bad id!"),
            Code::InvalidArgument,
            "failed to create entry: datastore-validation: invalid registration entry: entry ID contains invalid characters",
        ),
        (
            types::Entry { selectors: Vec::new(), ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: selector list is empty",
        ),
        (
            types::Entry { parent_id: None, ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: invalid parent ID: request must specify SPIFFE ID",
        ),
        (
            types::Entry { hint: "h".repeat(1025), ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: hint is too long, max length is 1024 characters",
        ),
        (
            types::Entry { selectors: vec![selector("a:b", "c")], ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: selector type \"a:b\" contains ':'",
        ),
        (
            types::Entry { x509_svid_ttl: -5, ..wire("/x") },
            Code::InvalidArgument,
            "failed to convert entry: x509_svid_ttl is -5, expected a number of seconds that is not negative",
        ),
    ];
    let entries: Vec<_> = cases.iter().map(|(entry, ..)| entry.clone()).collect();
    let results = create(&mut api, entries).await;
    assert_eq!(results.len(), cases.len());
    for ((entry, code, message), result) in cases.into_iter().zip(results) {
        assert_eq!(result, (code, message.to_owned(), None), "{entry:?}");
    }
    assert_eq!(api.store.entry_count(), 0);
}

#[tokio::test]
async fn a_batch_of_good_and_bad_entries_answers_each_in_its_place() {
    let mut api = Api::new().await;
    let results = create(
        &mut api,
        vec![
            named("/1", "one"),
            wire("/spire/x"),
            wire("/1"),
            named("/2", "one"),
            named("/2", "two"),
        ],
    )
    .await;
    let short: Vec<_> = results
        .iter()
        .map(|(code, message, entry)| {
            (*code, message.as_str(), entry.as_ref().map(|entry| entry.id.as_str()))
        })
        .collect();
    assert_eq!(short[0], (Code::Ok, "OK", Some("one")));
    assert_eq!(short[1].0, Code::InvalidArgument);
    assert_eq!(short[2], (Code::AlreadyExists, "similar entry already exists", Some("one")));
    assert_eq!((short[3].0, short[3].2), (Code::AlreadyExists, None));
    assert_eq!(short[4], (Code::Ok, "OK", Some("two")));
    let created = results[0].2.as_ref().unwrap();
    assert_eq!((created.revision_number, created.created_at), (0, 1_000));
}

#[tokio::test]
async fn an_entry_without_an_id_gets_a_random_uuid() {
    let mut api = Api::new().await;
    let results = create(&mut api, vec![wire("/1"), wire("/2")]).await;
    let ids: Vec<_> = results.iter().map(|result| result.2.as_ref().unwrap().id.clone()).collect();
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    }
}

#[tokio::test]
async fn federation_works_once_the_bundle_is_there() {
    let mut api = Api::new().await;
    let other = TestCa::new("other.org", SystemTime::UNIX_EPOCH);
    let certificate = other.authority().certificate().clone();
    let stored = api.store.append_x509_authority(other.trust_domain(), certificate).await.unwrap();
    assert_eq!(stored.sequence(), 1);
    assert!(Bundle::has_same_content(&stored, &other.bundle(1, &[])));
    let federated =
        types::Entry { federates_with: vec!["spiffe://other.org".to_owned()], ..wire("/fed") };
    let results = create(&mut api, vec![federated]).await;
    assert_eq!(results[0].2.as_ref().unwrap().federates_with, ["other.org"]);
}

async fn update(
    api: &mut Api,
    entry: types::Entry,
    input_mask: Option<EntryMask>,
) -> Result<types::Entry, (Code, String)> {
    let request = BatchUpdateEntryRequest { entries: vec![entry], input_mask, output_mask: None };
    let mut results = api.client.batch_update_entry(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 1);
    let result = results.remove(0);
    let status = result.status.unwrap();
    result.entry.ok_or((Code::from(status.code), status.message))
}

#[tokio::test]
async fn an_update_without_mask_replaces_the_whole_entry() {
    let mut api = Api::new().await;
    let full = types::Entry {
        hint: "int".to_owned(),
        admin: true,
        x509_svid_ttl: 120,
        additional_attributes: Some(types::entry::AdditionalAttributes {
            disable_x509_svid_prefetch: true,
            jwt_svid_include_jti: false,
        }),
        ..named("/full", "my.entry-1")
    };
    create(&mut api, vec![full.clone()]).await;
    let updated = update(&mut api, named("/full2", "my.entry-1"), None).await.unwrap();
    let expected =
        types::Entry { revision_number: 1, created_at: 1_000, ..named("/full2", "my.entry-1") };
    assert_eq!(updated, expected);
}

#[tokio::test]
async fn an_update_with_a_mask_reads_only_what_it_names() {
    let mut api = Api::new().await;
    create(&mut api, vec![named("/w", "w")]).await;
    let nonsense = types::Entry {
        id: "w".to_owned(),
        hint: "new".to_owned(),
        x509_svid_ttl: -1,
        dns_names: vec!["..".to_owned()],
        ..types::Entry::default()
    };
    let mask = EntryMask { hint: true, ..EntryMask::default() };
    let updated = update(&mut api, nonsense.clone(), Some(mask)).await.unwrap();
    assert_eq!((updated.hint.as_str(), updated.revision_number), ("new", 1));
    assert_eq!(updated.spiffe_id, Some((&id("/w")).into()));
    let mask = EntryMask { selectors: true, ..EntryMask::default() };
    assert_eq!(
        update(&mut api, nonsense, Some(mask)).await.unwrap_err(),
        (Code::InvalidArgument, "failed to convert entry: selector list is empty".to_owned())
    );
}

#[tokio::test]
async fn updates_of_what_is_not_there_are_not_found() {
    let mut api = Api::new().await;
    for unknown in ["unknown", "", "bad id!"] {
        assert_eq!(
            update(&mut api, named("/w", unknown), None).await.unwrap_err(),
            (Code::NotFound, "failed to update entry".to_owned())
        );
    }
    create(&mut api, vec![named("/1", "one"), named("/2", "two")]).await;
    assert_eq!(
        update(&mut api, named("/1", "two"), None).await.unwrap_err(),
        (Code::AlreadyExists, "failed to update entry: similar entry already exists".to_owned())
    );
}

#[tokio::test]
async fn deletes_answer_each_id() {
    let mut api = Api::new().await;
    create(&mut api, vec![named("/w", "w")]).await;
    let ids = ["unknown", "w", "", "w"].map(str::to_owned).to_vec();
    let request = BatchDeleteEntryRequest { ids: ids.clone() };
    let results = api.client.batch_delete_entry(request).await.unwrap().into_inner().results;
    let echoed: Vec<_> = results.iter().map(|result| result.id.clone()).collect();
    assert_eq!(echoed, ids);
    let statuses: Vec<_> = results
        .into_iter()
        .map(|result| {
            let status = result.status.unwrap();
            (Code::from(status.code), status.message)
        })
        .collect();
    let not_found = (Code::NotFound, "entry not found".to_owned());
    assert_eq!(
        statuses,
        [
            not_found.clone(),
            (Code::Ok, "OK".to_owned()),
            (Code::InvalidArgument, "missing entry ID".to_owned()),
            not_found
        ]
    );
}

#[tokio::test]
async fn one_entry_is_fetched_with_what_the_mask_asks_for() {
    let mut api = Api::new().await;
    create(&mut api, vec![named("/w", "w")]).await;
    let mask = EntryMask { spiffe_id: true, ..EntryMask::default() };
    let get = |id: &str| GetEntryRequest { id: id.to_owned(), output_mask: Some(mask) };
    let entry = api.client.get_entry(get("w")).await.unwrap().into_inner();
    let spiffe_id = Some((&spec("/w").spiffe_id).into());
    assert_eq!(entry, types::Entry { id: "w".to_owned(), spiffe_id, ..types::Entry::default() });
    for (id, code, message) in [
        ("", Code::InvalidArgument, "missing ID"),
        ("unknown", Code::NotFound, "entry not found"),
        ("bad id!", Code::NotFound, "entry not found"),
    ] {
        let status = api.client.get_entry(get(id)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
}
