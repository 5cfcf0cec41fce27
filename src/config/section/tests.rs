use std::path::Path;

use super::super::{Environment, Idle, Problems, Source};
use super::*;

fn problems<T>(text: &str, read: impl FnOnce(&mut Section<'_, '_>) -> T) -> (T, Problems) {
    let bytes = text.as_bytes().to_vec();
    Source::new(Path::new("x.conf"), bytes, Environment::Literal).unwrap().read(read).unwrap()
}

fn read<T>(text: &str, read: impl FnOnce(&mut Section<'_, '_>) -> T) -> (T, String) {
    let (value, problems) = problems(text, read);
    (value, if problems.is_empty() { String::new() } else { problems.to_string() })
}

#[test]
fn typed_settings_come_with_their_place() {
    let text = "name = \"x\"\nport = \"8081\"\n  on = true\nlist = [\"a\", \"b\"]\n";
    let ((name, port, on, list), problems) = problems(text, |section| {
        (
            section.text("name", value::string).unwrap(),
            section.integer("port").unwrap(),
            section.boolean("on").unwrap(),
            section.texts("list").unwrap(),
        )
    });
    assert!(problems.is_empty());
    assert_eq!((name.value.as_str(), port.value, on.value), ("x", 8081, true));
    assert_eq!(list.value, ["a", "b"]);
    assert_eq!(on.origin, Origin::File(Position { line: 3, column: 8 }));
}

#[test]
fn numbers_and_strings_stand_for_one_another() {
    let (values, error) = read("a = 80\nb = \"80\"\nc = 010", |section| {
        (
            section.text("a", value::string).map(|a| a.value),
            section.integer("b").map(|b| b.value),
            section.integer("c").map(|c| c.value),
        )
    });
    assert_eq!(error, "");
    assert_eq!(values, (Some("80".to_owned()), Some(80), Some(8)));
}

#[test]
fn empty_and_null_are_not_set() {
    let (values, error) = read("{\"a\":\"\",\"b\":null,\"c\":\"\",\"d\":null}", |section| {
        (
            section.text("a", value::string),
            section.text("b", value::string),
            section.integer("c"),
            section.section("d", |_| ()),
        )
    });
    assert_eq!(error, "");
    assert_eq!(values, (None, None, None, None));
}

#[test]
fn keys_are_known_in_any_case_as_in_hcl_1() {
    let (value, error) = read("Trust_Domain = \"x\"", |s| s.text("trust_domain", value::string));
    assert_eq!(error, "");
    assert_eq!(value.unwrap().value, "x");
}

#[test]
fn every_unknown_key_is_listed_with_place_and_guess() {
    let text = "server {\n  trust_domian = \"x\"\n  inner { colour = 1 }\n}\nzzz = 1\n";
    let ((), error) = read(text, |file| {
        file.section("server", |server| {
            server.text("trust_domain", value::string);
            server.section("inner", |inner| {
                inner.text("color", value::string);
            });
        });
    });
    assert_eq!(
        error,
        "3 problems\n  x.conf:2:3: unknown key \"trust_domian\" in server; did you mean \"trust_domain\"?\n  \
         x.conf:3:11: unknown key \"colour\" in server.inner; did you mean \"color\"?\n  \
         x.conf:5:1: unknown key \"zzz\""
    );
}

#[test]
fn a_key_that_only_spire_knows_is_refused_as_such() {
    let ((), error) = read("server {\n  admin_ids = [\"a\"]\n}", |file| {
        file.section("server", |server| {
            server.unsupported(&[("admin_ids", Idle::Unset), ("federation", Idle::EmptyBlock)]);
        });
    });
    assert_eq!(
        error,
        "x.conf:2:3: server.admin_ids is a SPIRE setting that finial does not support yet"
    );
}

#[test]
fn a_key_set_twice_is_refused_with_both_places() {
    for text in ["a = 1\nb { a = 1 }\na = 2", "b { a = 1 } a = 1\nb = {}\na = 2\n"] {
        let (_, error) = read(text, |file| {
            file.section("b", |b| b.integer("a"));
            file.integer("a");
        });
        let line = text.lines().count();
        let first = if line == 3 { "1:1" } else { "1:13" };
        assert!(
            error.starts_with(&format!("x.conf:3:1: \"a\" is set twice, first at {first}")),
            "{error}"
        );
    }
}

#[test]
fn blocks_in_pieces_are_one_section() {
    for text in [
        "a { b = 1 } a { c = 2 }",
        "a = { b = 1, c = 2 }",
        "a = [{ b = 1 }, { c = 2 }]",
        "{\"a\":[{\"b\":1},{\"c\":2}]}",
        "{\"a\":{\"b\":1,\"c\":\"2\"}}",
    ] {
        let (a, error) = read(text, |file| {
            file.section("a", |a| (a.integer("b").unwrap().value, a.integer("c").unwrap().value))
        });
        assert_eq!((a, error.as_str()), (Some((1, 2)), ""), "{text}");
    }
}

#[test]
fn a_repeated_key_across_pieces_is_refused() {
    let (_, error) = read("a { b = 1 }\na { b = 2 }", |file| file.section("a", |a| a.integer("b")));
    assert_eq!(error, "x.conf:2:5: \"b\" is set twice, first at 1:5");
    let (_, error) = read("{\"a\":{},\n\"a\":{}}", |file| file.section("a", |_| ()));
    assert_eq!(error, "x.conf:2:1: \"a\" is set twice, first at 1:2");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_both_kinds() {
    let text = "a = []\nb = \"true\"\nc = \"x\"\nd = 1\ne = [true]\nf = 1.5\n";
    let ((), error) = read(text, |file| {
        file.text("a", value::string);
        file.boolean("b");
        file.integer("c");
        file.section("d", |_| ());
        file.texts("e");
        file.integer("f");
    });
    assert_eq!(
        error,
        "6 problems\n  x.conf:1:5: a must be a string, not a list\n  \
         x.conf:2:5: b must be true or false, not a string\n  \
         x.conf:3:5: could not parse c \"x\": expected a whole number\n  \
         x.conf:4:5: d must be a block, not a number\n  \
         x.conf:5:6: e must be a list of strings, not a boolean\n  \
         x.conf:6:5: could not parse f \"1.5\": expected a whole number"
    );
}
