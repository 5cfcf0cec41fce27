use std::path::Path;

use proptest::prelude::*;

use super::super::tree::{Entry, Node, Value};
use super::*;

fn source(bytes: &[u8]) -> Result<Source, Error> {
    Source::new(Path::new("x.conf"), bytes.to_vec(), Environment::Literal)
}

fn tree(text: &str) -> String {
    spell_entries(&source(text.as_bytes()).unwrap().parse().unwrap())
}

fn syntax_error(text: &str) -> String {
    let read = source(text.as_bytes()).and_then(|source| source.read(|file| file.ignore()));
    read.unwrap_err().to_string().replace("unable to decode configuration at \"x.conf\": ", "")
}

/// The tree without positions, blocks and assignments alike.
fn spell_entries(entries: &[Entry]) -> String {
    let entries: Vec<_> =
        entries.iter().map(|entry| format!("{}={}", entry.key, spell(&entry.value))).collect();
    format!("{{{}}}", entries.join(" "))
}

fn spell(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => text.clone(),
        Value::String(text) => format!("{text:?}"),
        Value::List(elements) => {
            format!("[{}]", elements.iter().map(spell).collect::<Vec<_>>().join(" "))
        }
        Value::Object(entries) => spell_entries(entries),
    }
}

#[test]
fn every_form_of_hcl_1_is_read() {
    for (text, wanted) in [
        ("", "{}"),
        ("# c\n// c\n/* c\n */", "{}"),
        ("a = 1", "{a=1}"),
        ("a = 1 b = 2", "{a=1 b=2}"),
        ("a = 1,\nb = 2,", "{a=1 b=2}"),
        ("\"a\" = \"b\"", "{a=\"b\"}"),
        ("a.b-c_d = true", "{a.b-c_d=true}"),
        ("a { b { c = 1 } }", "{a={b={c=1}}}"),
        ("a \"b\" { c = 1 }", "{a={b={c=1}}}"),
        ("a \"b\" c { }", "{a={b={c={}}}}"),
        ("a = { b = \"x\" c = \"y\" }", "{a={b=\"x\" c=\"y\"}}"),
        ("a = [\"x\", \"y\",]", "{a=[\"x\" \"y\"]}"),
        ("a = [{ b = 1 }, { b = 2 }]", "{a=[{b=1} {b=2}]}"),
        ("a = [[1], [2]]", "{a=[[1] [2]]}"),
        ("a = -5 b = 0x1F c = 010 d = 1.5e3 e = .5", "{a=-5 b=0x1F c=010 d=1.5e3 e=.5}"),
        (r#"a = "t\t\"q\" \\ \u00e9 \x41 \101""#, r#"{a="t\t\"q\" \\ é A A"}"#),
        ("a = \"${b(\"c\")} d\"", "{a=\"${b(\\\"c\\\")} d\"}"),
        ("a = <<EOF\nx\n y\nEOF\nb = 1", "{a=\"x\\n y\\n\" b=1}"),
        ("a = <<-EOF\n    x\n      y\n    EOF\n", "{a=\"x\\n  y\\n\"}"),
        ("a = <<-EOF\n  x\n    y\n    EOF\n", "{a=\"  x\\n    y\\n\"}"),
        ("a = 1\r\nb = <<E\r\nx\r\nE\r\n", "{a=1 b=\"x\\n\"}"),
    ] {
        assert_eq!(tree(text), wanted, "{text}");
    }
}

#[test]
fn every_form_of_json_is_read() {
    for (text, wanted) in [
        ("{}", "{}"),
        (" \n{\"a\": 1}\n", "{a=1}"),
        ("{\"a\":[{\"b\":null},true,false,-1.5e+3,0]}", "{a=[{b=null} true false -1.5e+3 0]}"),
        (r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#, r#"{a="\"\\/\u{8}\u{c}\n\r\té😀"}"#),
        ("{\"a\":{},\"b\":[]}", "{a={} b=[]}"),
    ] {
        assert_eq!(tree(text), wanted, "{text}");
    }
}

#[test]
fn broken_hcl_is_refused_in_hcls_words_with_line_and_column() {
    for (text, wanted) in [
        ("server { ttl = \"x\"", "At 1:20: object expected closing RBRACE got: EOF"),
        ("a {\n b = 1\n", "At 3:2: object expected closing RBRACE got: EOF"),
        ("a = \"x\n", "At 1:7: literal not terminated"),
        ("a = \"\\q\"", "At 1:7: illegal char escape"),
        ("a = \"\\xff\"", "At 1:8: illegal char escape"),
        ("a = b", "At 1:5: Unknown token: 1:5 IDENT b"),
        ("a =", "At 1:4: expected: a value got: EOF"),
        ("a { b }", "At 1:7: key 'b' expected start of object ('{') or assignment ('=')"),
        ("= 1", "At 1:1: no object keys found!"),
        ("a b = 1", "At 1:5: nested object expected: LBRACE got: ASSIGN"),
        ("a = 1 { }", "At 1:7: expected: IDENT | STRING got: LBRACE"),
        ("[a]", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: LBRACK"),
        ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"),
        ("a = [b]", "At 1:6: unexpected token while parsing list: IDENT"),
        (
            "a = [{ b }]",
            "At 1:6: error while trying to parse object within list: At 1:10: key 'b' expected start of object ('{') \
             or assignment ('=')",
        ),
        ("a = @", "At 1:5: illegal char"),
        ("a = 08", "At 1:7: illegal octal number"),
        ("a = 0x", "At 1:7: illegal hexadecimal number"),
        ("/ a", "At 1:1: expected '/' for comment"),
        ("/* a", "At 1:5: comment not terminated"),
        ("a = <EOF\n", "At 1:6: heredoc expected second '<', didn't see it"),
        ("a = <<EOF\nx", "At 2:2: heredoc not terminated"),
        ("a = <<\nx", "At 1:7: zero-length heredoc anchor"),
        ("a = <<A B\nx", "At 1:8: invalid characters in heredoc anchor"),
        ("a = 1\n\0", "At 2:1: unexpected null character (0x00)"),
        ("a = \"\0\"", "At 1:6: unexpected null character (0x00)"),
        ("# \0", "At 1:3: unexpected null character (0x00)"),
    ] {
        assert_eq!(syntax_error(text), wanted, "{text}");
    }
}

#[test]
fn broken_json_is_refused_with_line_and_column() {
    for (text, wanted) in [
        ("{", "At 1:2: invalid JSON: expected a key in double quotes, found the end of the file"),
        ("{\n \"a\" 1}", "At 2:6: invalid JSON: expected ':', found '1'"),
        ("{\"a\":1,}", "At 1:8: invalid JSON: expected a key in double quotes, found '}'"),
        ("{\"a\":[1,]}", "At 1:9: invalid JSON: expected a value, found ']'"),
        ("{\"a\":1} x", "At 1:9: invalid JSON: expected the end of the file, found 'x'"),
        ("{\"a\":01}", "At 1:7: invalid JSON: expected ',' or '}', found '1'"),
        ("{\"a\":\"\\ud800x\"}", "At 1:8: illegal char escape"),
        (
            "{\"a\":\"\n\"}",
            "At 1:7: invalid JSON: expected '\"' at the end of the string, found '\\n'",
        ),
        ("{\"a\":tru}", "At 1:9: invalid JSON: expected true, found '}'"),
    ] {
        assert_eq!(syntax_error(text), wanted, "{text}");
    }
}

#[test]
fn nesting_beyond_the_limit_is_refused_before_the_stack_is_at_risk() {
    for text in [
        "a {".repeat(100_000),
        "a = ".to_owned() + &"[".repeat(100_000),
        "a ".repeat(100_000) + "{}",
        "{\"a\":".repeat(100_000),
        "{\"a\":".to_owned() + &"[".repeat(100_000),
    ] {
        let error = syntax_error(&text);
        assert!(error.ends_with("nested deeper than 64 levels"), "{error}");
    }
}

#[test]
fn a_byte_order_mark_is_no_content() {
    assert_eq!(tree("\u{feff}a = 1"), "{a=1}");
    assert_eq!(tree("\u{feff}{\"a\":1}"), "{a=1}");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_stand() {
    let error = source(b"a = 1\nb = \"\xff\"").err().unwrap().to_string();
    assert_eq!(
        error,
        "unable to decode configuration at \"x.conf\": At 2:6: illegal UTF-8 encoding"
    );
    let utf16 = source(b"\xff\xfea\0").err().unwrap().to_string();
    assert!(utf16.ends_with("At 1:1: illegal UTF-8 encoding"), "{utf16}");
}

#[test]
fn files_that_cannot_be_read_say_which_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| Source::open(path, Environment::Literal).err().unwrap().to_string();
    let missing = directory.path().join("missing.conf");
    assert_eq!(
        open(&missing),
        format!("could not find config file {}: please use the -config flag", missing.display())
    );
    let path = directory.path();
    assert_eq!(
        open(path),
        format!("unable to read configuration at {path:?}: Is a directory (os error 21)")
    );
    let large = directory.path().join("large.conf");
    std::fs::write(&large, vec![b'\n'; 50 << 20]).unwrap();
    assert_eq!(
        open(&large),
        format!("unable to read configuration at {large:?}: it is larger than 1048576 bytes")
    );
}

#[test]
fn every_undefined_variable_is_named_with_its_place() {
    let environment = |name: &str| (name == "A").then(|| "1".to_owned());
    let text = b"a = \"$A\"\nb = \"$B\"\nc = \"${C}\"\n".to_vec();
    let source = Source::new(Path::new("x.conf"), text, Environment::Expanded(&environment));
    assert_eq!(
        source.err().unwrap().to_string(),
        "2 problems\n  x.conf:2:6: environment variable \"B\" is not defined; write $$ for a dollar sign\n  \
         x.conf:3:6: environment variable \"C\" is not defined; write $$ for a dollar sign"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ignored = source(&bytes).and_then(|source| source.read(|file| file.ignore()));
    }

    #[test]
    fn arbitrary_syntax_never_panics(text in "([{}\\[\\]\"=,.$<>\\\\/*#+a-f0-9xeEu\n \\-\u{e9}]|<<A\n|A\n|true|null){0,80}") {
        let environment = |_: &str| Some("\"}".to_owned());
        for json in ["", "{\"a\":"] {
            let bytes = format!("{json}{text}").into_bytes();
            let source = Source::new(Path::new("x"), bytes, Environment::Expanded(&environment));
            let _ignored = source.and_then(|source| source.read(|file| file.ignore()));
        }
    }

    #[test]
    fn a_string_written_as_json_is_read_back(text in any::<String>()) {
        let json = serde_json::json!({ "key": text }).to_string();
        let entries = json::parse(&json).unwrap();
        prop_assert_eq!(&entries[0].value.value, &Value::String(text));
    }
}
