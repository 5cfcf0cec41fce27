//! How a file opens, what a table of contents may hold, and what no folder may be called.

use super::source::{children, ident, is_punct, line};
use super::tree::{File, Tree};
use super::{Rule, Violation};
use proc_macro2::TokenTree;

/// Names that gather whatever has no place.
const GRAB_BAGS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// What a table of contents must not define.
const DEFINITIONS: &[&str] =
    &["fn", "struct", "enum", "union", "trait", "impl", "const", "static", "type", "macro_rules"];

/// `main.rs` calls `cli` and holds nothing else.
const LONGEST_MAIN: usize = 20;

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    tree.files
        .iter()
        .flat_map(|file| [head(file), contents(file), name(file), main(file)])
        .flatten()
        .collect()
}

fn violation(rule: Rule, file: &File, line: usize, text: String) -> Option<Violation> {
    Some(Violation { rule, file: file.name.clone(), line, text })
}

fn head(file: &File) -> Option<Violation> {
    if file.source.has_head_doc {
        return None;
    }
    let text =
        "does not open with `//!`: say what it owns, what it refuses to know, which task runs it";
    violation(Rule::HeadDoc, file, 1, text.into())
}

fn contents(file: &File) -> Option<Violation> {
    if !file.is_contents() {
        return None;
    }
    let (line, word) = definition(&file.source.tokens)?;
    let text = format!("`{word}` in a table of contents: move it into a file named by its noun");
    violation(Rule::Contents, file, line, text)
}

/// The first definition, inline modules included. A macro that includes generated code is none.
fn definition(tokens: &[TokenTree]) -> Option<(usize, String)> {
    tokens.iter().enumerate().find_map(|(at, token)| match token {
        TokenTree::Group(inner) => definition(&children(inner)),
        TokenTree::Ident(_) => {
            let word = ident(Some(token)).filter(|word| DEFINITIONS.contains(&word.as_str()))?;
            // An attribute may well say `type = …`.
            (!is_punct(tokens.get(at + 1), '=')).then(|| (line(token), word))
        }
        _ => None,
    })
}

fn name(file: &File) -> Option<Violation> {
    let bag = file.module.iter().find(|segment| GRAB_BAGS.contains(&segment.as_str()))?;
    let text = format!("`{bag}` says nothing: name it after the noun it owns");
    violation(Rule::Name, file, 1, text)
}

fn main(file: &File) -> Option<Violation> {
    if file.name != "main.rs" || file.source.lines <= LONGEST_MAIN {
        return None;
    }
    let text = format!("{} lines, at most {LONGEST_MAIN}: it calls `cli` only", file.source.lines);
    violation(Rule::FileLength, file, 1, text)
}
