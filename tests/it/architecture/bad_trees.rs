//! The checker can fail: for each rule a small tree that breaks it and nothing else, and beside it
//! the nearest tree that does not.

use super::{Rule, violations};
use std::fs;
use tempfile::TempDir;

/// A tree that keeps every rule.
const GOOD: &[(&str, &str)] = &[
    ("main.rs", "//! The binary.\nfn main() {\n    finial::cli::main();\n}\n"),
    (
        "lib.rs",
        "//! The crate.\npub mod runtime;\npub mod x509;\npub mod spiffe;\npub mod agent;\n\
         #[cfg(any(test, feature = \"testing\"))]\npub mod testing;\n",
    ),
    ("runtime/mod.rs", "//! Mechanics.\npub mod clock;\n"),
    ("runtime/clock.rs", "//! Time.\nfn now() { std::time::SystemTime::now(); }\n"),
    ("x509/mod.rs", "//! Certificates.\nmod key;\npub use key::Key;\n"),
    ("x509/key.rs", "//! Keys.\npub struct Key;\n"),
    ("spiffe/mod.rs", "//! Names.\nmod id;\nmod svid;\npub use self::{id::Id, svid::Svid};\n"),
    ("spiffe/id.rs", "//! Ids.\npub struct Id;\n"),
    ("spiffe/svid.rs", "//! SVIDs.\nuse super::Id;\npub struct Svid(Id, crate::x509::Key);\n"),
    ("agent/mod.rs", "//! The agent.\nmod start;\nmod identity;\npub use start::run;\n"),
    ("agent/start.rs", "//! Starts.\nuse crate::spiffe::Svid;\npub fn run(_: Svid) {}\n"),
    ("agent/identity.rs", "//! Itself.\nuse crate::runtime::clock;\n"),
    ("cli/mod.rs", "//! Commands.\nuse crate::agent::run;\n"),
    ("testing/mod.rs", "//! Fakes.\nmod cluster;\n"),
    ("testing/cluster.rs", "//! A cluster.\nuse crate::{agent::identity, x509::Key};\n"),
];

/// What is wrong with [`GOOD`] once `files` are added or put in place of their namesakes.
fn broken_by(files: &[(&str, &str)]) -> Vec<(Rule, String)> {
    broken_with(files, &[])
}

fn broken_with(files: &[(&str, &str)], long_files: &[(&str, &str)]) -> Vec<(Rule, String)> {
    let src = TempDir::new().unwrap();
    for (name, text) in GOOD.iter().chain(files) {
        let path = src.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = violations(src.path(), long_files);
    found.into_iter().map(|v| (v.rule, format!("{}:{}", v.file, v.line))).collect()
}

fn one(rule: Rule, place: &str) -> Vec<(Rule, String)> {
    vec![(rule, place.to_owned())]
}

/// The places where `rule` is broken: an arrow that turns closes a cycle as well.
fn only(rule: Rule, found: Vec<(Rule, String)>) -> Vec<String> {
    found.into_iter().filter(|(broken, _)| *broken == rule).map(|(_, place)| place).collect()
}

fn lines(count: usize) -> String {
    "//! Doc.\n".repeat(count)
}

/// A function of `count` lines.
fn function(name: &str, count: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    x();\n".repeat(count - 2))
}

#[test]
fn the_good_tree_is_good() {
    assert_eq!(broken_by(&[]), []);
}

#[test]
fn what_does_not_lex_is_rejected() {
    let found = broken_by(&[("x509/pem.rs", "//! PEM.\nfn f() { ) }\n")]);
    assert_eq!(found, one(Rule::Syntax, "x509/pem.rs:2"));
}

#[test]
fn an_arrow_upwards_is_rejected_however_it_is_written() {
    for text in [
        "//! Doc.\nuse crate::spiffe::Id;\n",
        "//! Doc.\nuse crate::{spiffe::{Id as Name}};\n",
        "//! Doc.\nuse super::super::spiffe::Id;\n",
        "//! Doc.\nfn f() { crate::spiffe::Id; }\n",
        "//! Doc.\nfn f() { select! { x = crate::spiffe::id::Id => {} } }\n",
        "//! Doc.\nmod a { type A = super::super::super::spiffe::Id; }\n",
        "//! Doc.\nfn f() -> Vec::<crate::spiffe::Id> {}\n",
        "//! Doc.\nuse crate::spiffe::*;\n",
    ] {
        let found = broken_by(&[("x509/cert.rs", text)]);
        assert_eq!(only(Rule::Arrow, found), ["x509/cert.rs:2"], "{text}");
    }
}

#[test]
fn an_arrow_through_an_imported_module_is_rejected() {
    let text = "//! Doc.\nuse crate::agent;\nfn f() { agent::run(); }\n";
    let found = broken_by(&[("runtime/tasks.rs", text)]);
    assert_eq!(only(Rule::Arrow, found), ["runtime/tasks.rs:2", "runtime/tasks.rs:3"]);
}

#[test]
fn a_re_export_does_not_hide_an_arrow() {
    let found = broken_by(&[
        ("cli/mod.rs", "//! Commands.\npub use crate::agent::run;\n"),
        ("agent/sync.rs", "//! Sync.\nuse crate::cli::run;\n"),
    ]);
    assert_eq!(only(Rule::Arrow, found), ["agent/sync.rs:2"]);
}

#[test]
fn paths_in_comments_strings_and_tests_are_no_arrows() {
    let text = "//! See crate::agent.\n// use crate::agent::run;\n/* /* */ crate::agent::run */\n\
                /// Like [`crate::agent::run`].\nconst A: &str = r#\"\"crate::agent::run\"#;\n\
                #[cfg(test)]\nmod tests {\n    use crate::agent::run;\n}\n\
                #[cfg(test)]\nmod golden;\n";
    let found = broken_by(&[
        ("x509/cert.rs", text),
        ("x509/cert/golden.rs", "use crate::agent::run;\n"),
        ("x509/key/tests.rs", "use crate::agent::run;\n"),
    ]);
    assert_eq!(found, []);
}

#[test]
fn programs_do_not_name_each_other() {
    let found = broken_by(&[("server/mod.rs", "//! The server.\nuse crate::agent::run;\n")]);
    assert_eq!(found, one(Rule::Arrow, "server/mod.rs:2"));
}

#[test]
fn dev_names_a_program_by_its_public_entry_only() {
    let entries = "//! Dev.\nuse crate::agent;\nuse crate::agent::run;\n\
                   use crate::agent::start::Other;\nfn f() { agent::run(); }\n";
    assert_eq!(broken_by(&[("dev/mod.rs", "//! Dev.\nmod demo;\n"), ("dev/demo.rs", entries)]), []);
    let inside = "//! Dev.\nuse crate::agent::identity;\n";
    assert_eq!(broken_by(&[("dev/demo.rs", inside)]), one(Rule::Arrow, "dev/demo.rs:2"));
}

#[test]
fn nothing_names_cli_but_main_and_main_names_nothing_else() {
    let found = broken_by(&[("agent/sync.rs", "//! Sync.\nuse crate::cli;\n")]);
    assert_eq!(only(Rule::Arrow, found), ["agent/sync.rs:2"]);
    let main = "//! The binary.\nfn main() { finial::agent::run(); }\n";
    assert_eq!(broken_by(&[("main.rs", main)]), one(Rule::Arrow, "main.rs:2"));
}

#[test]
fn the_product_does_not_name_testing() {
    let found = broken_by(&[("agent/sync.rs", "//! Sync.\nuse crate::testing::cluster;\n")]);
    assert_eq!(only(Rule::Arrow, found), ["agent/sync.rs:2"]);
}

#[test]
fn a_module_of_no_layer_is_rejected() {
    assert_eq!(broken_by(&[("extra.rs", "//! Extra.\n")]), one(Rule::Arrow, "extra.rs:1"));
}

#[test]
fn a_cycle_of_files_is_rejected_behind_re_exports_too() {
    let found = broken_by(&[("spiffe/id.rs", "//! Ids.\nuse super::Svid;\npub struct Id;\n")]);
    assert_eq!(found, one(Rule::Cycle, "spiffe/id.rs:2"));
}

#[test]
fn a_cycle_of_three_files_is_reported_once() {
    let found = broken_by(&[
        ("agent/a.rs", "//! A.\nuse super::b;\nfn f() { b::X; }\n"),
        ("agent/b.rs", "//! B.\nuse super::c::X;\n"),
        ("agent/c.rs", "//! C.\nfn f() { crate::agent::a::f(); }\n"),
    ]);
    assert_eq!(found, one(Rule::Cycle, "agent/a.rs:2"));
}

#[test]
fn a_cycle_of_top_level_modules_is_rejected_though_no_file_is_in_one() {
    let found = broken_by(&[
        ("x509/cert.rs", "//! Certs.\nuse crate::spiffe::Id;\n"),
        ("spiffe/bundle.rs", "//! Bundles.\nuse crate::x509::Key;\n"),
    ]);
    // The arrow that closes the cycle is refused as well.
    assert!(found.iter().any(|(rule, _)| *rule == Rule::Cycle), "{found:?}");
    assert!(found.contains(&(Rule::Arrow, "x509/cert.rs:2".into())), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_long_file_needs_a_reason_and_a_very_long_one_has_none() {
    let reasoned = [("x509/cert.rs", "one table")];
    assert_eq!(broken_by(&[("x509/cert.rs", &lines(400))]), []);
    assert_eq!(
        broken_by(&[("x509/cert.rs", &lines(401))]),
        one(Rule::FileLength, "x509/cert.rs:1")
    );
    assert_eq!(broken_with(&[("x509/cert.rs", &lines(600))], &reasoned), []);
    assert_eq!(
        broken_with(&[("x509/cert.rs", &lines(600))], &[("x509/cert.rs", " ")]),
        one(Rule::FileLength, "x509/cert.rs:1")
    );
    assert_eq!(
        broken_with(&[("x509/cert.rs", &lines(601))], &reasoned),
        one(Rule::FileLength, "x509/cert.rs:1")
    );
}

#[test]
fn test_code_does_not_make_a_file_long() {
    let text =
        format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(390), "    // x\n".repeat(300));
    assert_eq!(broken_by(&[("x509/cert.rs", &text)]), []);
}

#[test]
fn a_reason_that_is_not_needed_any_more_is_rejected() {
    let found = broken_with(&[], &[("x509/key.rs", "one table")]);
    assert_eq!(found, one(Rule::FileLength, "x509/key.rs:1"));
}

#[test]
fn a_long_main_is_rejected() {
    let text = GOOD[0].1.to_owned() + &"// x\n".repeat(17);
    assert_eq!(broken_by(&[("main.rs", &text)]), one(Rule::FileLength, "main.rs:1"));
}

#[test]
fn a_function_over_80_lines_is_rejected() {
    let small: String = (0..120).map(|n| format!("fn f{n}() {{}}\n")).collect();
    let with = |count| format!("//! Doc.\n{small}impl X {{\n{}}}\n", function("long", count));
    assert_eq!(broken_by(&[("x509/cert.rs", &with(80))]), []);
    assert_eq!(
        broken_by(&[("x509/cert.rs", &with(81))]),
        one(Rule::FunctionLength, "x509/cert.rs:123")
    );
}

#[test]
fn two_percent_of_functions_over_60_lines_is_too_many() {
    // Four functions are in the good tree.
    let with = |small: usize| {
        let small: String = (0..small).map(|n| format!("fn f{n}() {{}}\n")).collect();
        format!("//! Doc.\n{}{small}", function("long", 61))
    };
    assert_eq!(broken_by(&[("x509/cert.rs", &with(47))]), []);
    assert_eq!(broken_by(&[("x509/cert.rs", &with(46))]), one(Rule::Aim, "x509/cert.rs:2"));
}

#[test]
fn a_median_or_p90_over_its_aim_is_rejected() {
    let tree = |count: usize, each: usize| -> Vec<(String, String)> {
        (0..count).map(|n| (format!("agent/part{n:02}.rs"), lines(each))).collect()
    };
    let check = |files: Vec<(String, String)>| {
        broken_by(&files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect::<Vec<_>>())
    };
    assert_eq!(check(tree(30, 150)), []);
    assert_eq!(check(tree(30, 151)), one(Rule::Aim, "agent/part29.rs:1"));
    assert_eq!(check(tree(1, 351)), []);
    assert_eq!(check(tree(3, 351)), one(Rule::Aim, "agent/part02.rs:1"));
}

#[test]
fn a_file_without_a_head_is_rejected_in_testing_too() {
    assert_eq!(
        broken_by(&[("x509/cert.rs", "use std::io;\n")]),
        one(Rule::HeadDoc, "x509/cert.rs:1")
    );
    let found = broken_by(&[("testing/cluster.rs", "/// Doc.\nstruct Cluster;\n")]);
    assert_eq!(found, one(Rule::HeadDoc, "testing/cluster.rs:1"));
}

#[test]
fn a_table_of_contents_defines_nothing() {
    for definition in ["fn f() {}", "pub struct S;", "enum E { A }", "pub mod proto { struct S; }"]
    {
        let text = format!("//! Mechanics.\npub mod clock;\n{definition}\n");
        assert_eq!(
            broken_by(&[("runtime/mod.rs", &text)]),
            one(Rule::Contents, "runtime/mod.rs:3")
        );
    }
    let generated = "//! Wire.\npub mod proto {\n    tonic::include_proto!(\"x\");\n}\n\
                     #[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
    assert_eq!(broken_by(&[("wire/mod.rs", generated)]), []);
}

#[test]
fn a_grab_bag_is_rejected() {
    for bag in ["util", "common", "helpers", "misc"] {
        let (folder, file) = (format!("agent/{bag}/time.rs"), format!("agent/{bag}.rs"));
        assert_eq!(broken_by(&[(&folder, "//! T.\n")]), one(Rule::Name, &format!("{folder}:1")));
        assert_eq!(broken_by(&[(&file, "//! T.\n")]), one(Rule::Name, &format!("{file}:1")));
    }
}

#[test]
fn dangerous_names_stand_only_in_their_places() {
    for (place, text) in [
        ("agent/sync.rs", "use std::time::SystemTime;\nfn f() { SystemTime::now(); }"),
        ("agent/sync.rs", "use std::time;\nfn f() { time::SystemTime::now(); }"),
        ("agent/sync.rs", "use std::time::SystemTime as Wall;\nfn f() { Wall::now(); }"),
        ("agent/sync.rs", "\nfn f() { time::OffsetDateTime::now_utc(); }"),
        ("agent/sync.rs", "use tokio as t;\nfn f() { t::spawn(x); }"),
        ("agent/sync.rs", "\nuse tokio::task::spawn;"),
        ("x509/issue.rs", "\nuse rcgen::KeyPair;"),
        ("agent/sync.rs", "\nuse x509_parser::prelude::*;"),
        ("agent/sync.rs", "\nuse std::{env, io};"),
        ("agent/sync.rs", "\nfn f() { ::std::env::var(\"HOME\"); }"),
        ("cli/run.rs", "\nfn f() { std::process::exit(1); }"),
        ("cli/run.rs", "use std::process;\nfn f() { process::exit(1); }"),
        ("spiffe/entry.rs", "\nuse tokio::sync::watch;"),
    ] {
        let found = broken_by(&[(place, &format!("//! Doc.\n{text}\n"))]);
        assert_eq!(found, one(Rule::Place, &format!("{place}:3")), "{text}");
    }
}

#[test]
fn dangerous_names_may_stand_in_their_places() {
    let found = broken_by(&[
        ("runtime/tasks.rs", "//! Tasks.\nfn f() { tokio::spawn(x); }\n"),
        ("x509/issue.rs", "//! Issue.\nuse x509_parser::oid;\n"),
        ("cli/env.rs", "//! Env.\nuse std::env;\nfn f() { env::var(\"HOME\"); }\n"),
        ("agent/sync/poll.rs", "//! Sync.\nconst A: &str = std::env!(\"CARGO_PKG_VERSION\");\n"),
        ("testing/keys.rs", "//! Keys.\nuse std::env;\nuse rcgen::KeyPair;\n"),
    ]);
    assert_eq!(found, []);
}

#[test]
fn generated_types_stop_at_wire_its_servers_and_its_call_sites() {
    let generated = ("wire/proto.rs", "//! Generated.\ntonic::include_proto!(\"x\");\n");
    let text = "//! Doc.\nuse crate::wire::proto::spire::Entry;\n";
    for place in ["agent/serve/sds.rs", "agent/sync/poll.rs", "server/api/entry.rs", "cli/entry.rs"]
    {
        assert_eq!(broken_by(&[generated, (place, text)]), [], "{place}");
    }
    for place in ["agent/cache/view.rs", "server/store/entries.rs"] {
        let found = broken_by(&[generated, (place, text)]);
        assert_eq!(found, one(Rule::Place, &format!("{place}:2")));
    }
}

#[test]
fn a_re_export_does_not_hide_a_generated_type() {
    let found = broken_by(&[
        ("wire/mod.rs", "//! Wire.\npub mod proto;\npub use proto::spire::Entry as Wire;\n"),
        ("wire/proto.rs", "//! Generated.\ntonic::include_proto!(\"x\");\n"),
        ("agent/identity.rs", "//! Doc.\nuse crate::wire::Wire;\n"),
    ]);
    assert_eq!(found, one(Rule::Place, "agent/identity.rs:2"));
}
