//! One Rust file as the rules see it: its tokens without comments, strings and test code, its
//! product lines, and its functions. Owns lexing (by `proc-macro2`); knows no rule and no tree.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A lexed file.
pub(crate) struct Source {
    /// What is compiled into the product: items that exist only in tests are cut out.
    pub(crate) tokens: Vec<TokenTree>,
    /// Lines of the file, blank ones and comments included, test-only items not.
    pub(crate) lines: usize,
    /// Whether the file opens with `//!`.
    pub(crate) has_head_doc: bool,
    /// Whether `#![cfg(test)]` makes the whole file a test.
    pub(crate) is_test_file: bool,
    /// Names declared as `#[cfg(test)] mod name;`: their files are tests too.
    pub(crate) test_mods: BTreeSet<String>,
}

/// A function with a name, wherever it is nested.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From the line of `fn` to the line of the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Lexes `text`; the error carries the line at which it stops being Rust.
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        let stream: TokenStream =
            text.parse().map_err(|e: proc_macro2::LexError| e.span().start().line)?;
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut cut = Cut::default();
        let is_test_file = is_inner_cfg_test(&tokens);
        let tokens = if is_test_file { Vec::new() } else { cut.without_tests(&tokens) };
        let removed: BTreeSet<usize> = cut.lines.into_iter().flatten().collect();
        Ok(Self {
            tokens,
            lines: text.lines().count() - removed.len(),
            has_head_doc: text.starts_with("//!"),
            is_test_file,
            test_mods: cut.mods,
        })
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        collect_functions(&self.tokens, &mut found);
        found
    }
}

pub(crate) fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted)
}

/// `::` is two punctuation tokens, the first joined to the second.
pub(crate) fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
        && is_punct(tokens.get(at + 1), ':')
}

pub(crate) fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        // A raw identifier names the same thing as the bare one.
        Some(TokenTree::Ident(i)) => Some(i.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

pub(crate) fn group(token: Option<&TokenTree>, wanted: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(g)) if g.delimiter() == wanted => Some(g),
        _ => None,
    }
}

pub(crate) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub(crate) fn children(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn collect_functions(tokens: &[TokenTree], found: &mut Vec<Function>) {
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(inner) = token {
            collect_functions(&children(inner), found);
        }
        if ident(Some(token)).as_deref() != Some("fn") {
            continue;
        }
        // `fn(u8) -> u8` is a type: no name follows.
        let Some(name) = ident(tokens.get(at + 1)) else { continue };
        // A trait method without a body ends at `;` before any brace.
        let is_end =
            |t: &&TokenTree| is_punct(Some(t), ';') || group(Some(t), Delimiter::Brace).is_some();
        let end = tokens[at..].iter().find(is_end);
        let Some(body) = group(end, Delimiter::Brace) else { continue };
        let last = body.span_close().end().line;
        found.push(Function { name, line: line(token), lines: last + 1 - line(token) });
    }
}

/// What removing the test-only items leaves behind.
#[derive(Default)]
struct Cut {
    lines: Vec<RangeInclusive<usize>>,
    mods: BTreeSet<String>,
}

impl Cut {
    fn without_tests(&mut self, tokens: &[TokenTree]) -> Vec<TokenTree> {
        let mut kept = Vec::with_capacity(tokens.len());
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let item = end_of_attributes(tokens, at);
            if item > at && attributes(&tokens[at..item]).any(|a| is_cfg_test(&a)) {
                let end = end_of_item(tokens, item);
                self.note_test_item(&tokens[at..end], &tokens[item..end]);
                at = end;
            } else if item > at {
                kept.extend_from_slice(&tokens[at..item]);
                at = item;
            } else {
                kept.push(self.inside(token));
                at += 1;
            }
        }
        kept
    }

    fn inside(&mut self, token: &TokenTree) -> TokenTree {
        let TokenTree::Group(old) = token else { return token.clone() };
        let mut new = Group::new(
            old.delimiter(),
            self.without_tests(&children(old)).into_iter().collect::<TokenStream>(),
        );
        new.set_span(old.span());
        TokenTree::Group(new)
    }

    fn note_test_item(&mut self, whole: &[TokenTree], item: &[TokenTree]) {
        if let (Some(first), Some(last)) = (whole.first(), whole.last()) {
            self.lines.push(line(first)..=last.span().end().line);
        }
        let name = item.iter().position(|t| ident(Some(t)).as_deref() == Some("mod"));
        if let Some(name) = name.and_then(|at| ident(item.get(at + 1)))
            && is_punct(item.last(), ';')
        {
            self.mods.insert(name);
        }
    }
}

/// The index after all `#[…]` that start at `at`.
fn end_of_attributes(tokens: &[TokenTree], mut at: usize) -> usize {
    while is_punct(tokens.get(at), '#') && group(tokens.get(at + 1), Delimiter::Bracket).is_some() {
        at += 2;
    }
    at
}

fn attributes(tokens: &[TokenTree]) -> impl Iterator<Item = Vec<TokenTree>> {
    tokens.iter().filter_map(|t| group(Some(t), Delimiter::Bracket).map(children))
}

fn is_inner_cfg_test(tokens: &[TokenTree]) -> bool {
    tokens.windows(3).any(|w| {
        is_punct(w.first(), '#')
            && is_punct(w.get(1), '!')
            && group(w.get(2), Delimiter::Bracket).is_some_and(|g| is_cfg_test(&children(g)))
    })
}

fn is_cfg_test(attribute: &[TokenTree]) -> bool {
    ident(attribute.first()).as_deref() == Some("cfg")
        && group(attribute.get(1), Delimiter::Parenthesis)
            .is_some_and(|predicate| holds_only_in_tests(&children(predicate)))
}

/// Whether a `cfg` predicate can only be true in tests and benches (`test`, or the `testing` feature).
fn holds_only_in_tests(predicate: &[TokenTree]) -> bool {
    let operands = || {
        group(predicate.get(1), Delimiter::Parenthesis).map(children).map(|inner| {
            inner.split(|t| is_punct(Some(t), ',')).map(<[_]>::to_vec).collect::<Vec<_>>()
        })
    };
    let holds = |operand: &Vec<TokenTree>| holds_only_in_tests(operand);
    match ident(predicate.first()).as_deref() {
        Some("test") => true,
        Some("feature") => predicate.get(2).is_some_and(|name| name.to_string() == "\"testing\""),
        Some("all") => operands().is_some_and(|all| all.iter().any(holds)),
        Some("any") => {
            operands().is_some_and(|any| any.iter().filter(|o| !o.is_empty()).all(holds))
        }
        _ => false,
    }
}

/// The index after the item that starts at `at` (behind its attributes).
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let rest = &tokens[at..];
    let words: Vec<String> = rest.iter().take(6).filter_map(|t| ident(Some(t))).collect();
    let has = |word: &str| words.iter().any(|w| w == word);
    let ends = |token: &TokenTree| {
        let brace = group(Some(token), Delimiter::Brace).is_some();
        let semicolon = is_punct(Some(token), ';');
        match words.iter().find(|w| *w != "pub").map(String::as_str) {
            Some("use" | "static" | "type" | "let") => semicolon,
            Some("const") if !has("fn") => semicolon,
            Some(
                "fn" | "mod" | "impl" | "trait" | "struct" | "enum" | "union" | "async" | "unsafe"
                | "extern" | "const" | "macro_rules",
            ) => semicolon || brace,
            // A field, a variant, a match arm or an expression.
            _ => semicolon || brace || is_punct(Some(token), ','),
        }
    };
    rest.iter().position(ends).map_or(tokens.len(), |last| at + last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        Source::parse(text).unwrap().tokens.into_iter().collect::<TokenStream>().to_string()
    }

    #[test]
    fn comments_and_strings_leave_no_path_behind() {
        let text = "/* crate::a /* crate::b */ */ // crate::c\nconst A: &str = r#\"crate::d \"fn\"\"#;\nconst B: char = '\"';\nfn f<'a>(x: &'a str) {}\n";
        let tokens = rendered(text);
        assert!(!tokens.contains("crate :: a") && !tokens.contains("crate :: c"), "{tokens}");
        let names: Vec<_> = Source::parse(text).unwrap().functions();
        assert_eq!(names.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["f"]);
    }

    #[test]
    fn test_items_are_cut_with_their_lines() {
        let text = "//! Doc.\nfn kept() {}\n\n#[cfg(test)]\nuse a::{b, c};\n\n/// Doc.\n#[cfg(all(test, unix))]\nmod tests {\n    fn gone() {}\n}\n";
        let source = Source::parse(text).unwrap();
        assert_eq!(source.lines, 4);
        assert_eq!(source.functions().len(), 1);
    }

    #[test]
    fn not_test_and_any_other_feature_stay() {
        assert!(rendered("#[cfg(not(test))] fn kept() {}").contains("kept"));
        assert!(rendered("#[cfg(any(test, feature = \"x\"))] fn kept() {}").contains("kept"));
        assert!(!rendered("#[cfg(any(test, feature = \"testing\"))] mod gone;").contains("gone"));
    }

    #[test]
    fn a_test_field_or_arm_takes_only_itself() {
        let tokens = rendered("struct S { #[cfg(test)] gone: u8, kept: u8 }");
        assert!(tokens.contains("kept") && !tokens.contains("gone"), "{tokens}");
    }

    #[test]
    fn a_function_spans_from_its_name_to_its_brace() {
        let text = "trait T {\n    fn declared(&self);\n    fn given(\n        &self,\n    ) {\n    }\n}\ntype F = fn(u8) -> u8;\n";
        let found = Source::parse(text).unwrap().functions();
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(found, [("given", 3, 4)]);
    }

    #[test]
    fn text_that_is_not_rust_is_an_error_with_a_line() {
        assert_eq!(Source::parse("fn a() {}\nfn b() { \"\n").err(), Some(2));
    }
}
