//! The paths a file writes (`crate::a::b`, `std::env::var`), with `use` trees spread out and the
//! names they bind. Owns syntax; what a path means in the tree is `tree`'s business.

use super::source::{children, group, ident, is_path_separator, is_punct, line};
use proc_macro2::{Delimiter, TokenTree};

/// A path of two or more segments, or what a `use` names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Names of the inline `mod`s around it, outermost first.
    pub(crate) inside: Vec<String>,
    pub(crate) role: Role,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Written in code or in an attribute.
    Mention,
    /// `env!(…)` and the like, read by the compiler.
    Macro,
    /// Bound to a name by `use`; `is_exported` when others can reach it under that name.
    Import { name: String, is_exported: bool },
    /// `use a::*`.
    Glob { is_exported: bool },
}

/// Every path in `tokens`, in order.
pub(crate) fn paths(tokens: &[TokenTree]) -> Vec<Path> {
    let mut walk = Walk { inside: Vec::new(), found: Vec::new() };
    walk.tokens(tokens);
    walk.found
}

struct Walk {
    inside: Vec<String>,
    found: Vec<Path>,
}

impl Walk {
    fn tokens(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match (token, ident(Some(token)).as_deref()) {
                (TokenTree::Group(inner), _) => {
                    self.tokens(&children(inner));
                    at + 1
                }
                // `pub(in crate::a)` opens nothing and needs nothing.
                (_, Some("pub")) if group(tokens.get(at + 1), Delimiter::Parenthesis).is_some() => {
                    at + 2
                }
                (_, Some("mod")) => self.module(tokens, at),
                (_, Some("use")) if !is_punct(tokens.get(at + 1), '<') => self.import(tokens, at),
                (_, Some(_)) => self.mention(tokens, at),
                _ => at + 1,
            };
        }
    }

    fn module(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let body = group(tokens.get(at + 2), Delimiter::Brace);
        let (Some(name), Some(body)) = (ident(tokens.get(at + 1)), body) else { return at + 1 };
        self.inside.push(name);
        self.tokens(&children(body));
        self.inside.pop();
        at + 3
    }

    fn mention(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let mut segments: Vec<String> = ident(tokens.get(at)).into_iter().collect();
        let mut end = at + 1;
        while is_path_separator(tokens, end)
            && let Some(next) = ident(tokens.get(end + 2))
        {
            segments.push(next);
            end += 3;
        }
        let is_continued =
            at >= 2 && is_path_separator(tokens, at - 2) && follows_a_type(tokens, at - 2);
        if segments.len() > 1 && !is_continued {
            let role = if is_punct(tokens.get(end), '!') { Role::Macro } else { Role::Mention };
            self.push(segments, line(&tokens[at]), role);
        }
        end
    }

    fn import(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let is_exported = at >= 1
            && (ident(tokens.get(at - 1)).as_deref() == Some("pub")
                || group(tokens.get(at - 1), Delimiter::Parenthesis).is_some());
        let end = tokens[at..]
            .iter()
            .position(|t| is_punct(Some(t), ';'))
            .map_or(tokens.len(), |semicolon| at + semicolon);
        self.use_tree(&tokens[at + 1..end], &[], is_exported);
        end + 1
    }

    fn use_tree(&mut self, tree: &[TokenTree], prefix: &[String], is_exported: bool) {
        for branch in tree.split(|t| is_punct(Some(t), ',')) {
            let mut segments = prefix.to_vec();
            let mut at = if is_path_separator(branch, 0) { 2 } else { 0 };
            while let Some(name) = ident(branch.get(at)).filter(|name| name != "as") {
                segments.push(name);
                at += if is_path_separator(branch, at + 1) { 3 } else { 1 };
            }
            let Some(first) = branch.first() else { continue };
            let line = branch.get(at.saturating_sub(1)).map_or(line(first), line);
            if let Some(inner) = group(branch.get(at), Delimiter::Brace) {
                self.use_tree(&children(inner), &segments, is_exported);
            } else if is_punct(branch.get(at), '*') {
                self.push(segments, line, Role::Glob { is_exported });
            } else {
                // `use a::{self}` binds `a`.
                if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
                    segments.pop();
                }
                let renamed = ident(branch.get(at)).and_then(|_as| ident(branch.get(at + 1)));
                let Some(name) = renamed.or_else(|| segments.last().cloned()) else { continue };
                self.push(segments, line, Role::Import { name, is_exported });
            }
        }
    }

    fn push(&mut self, segments: Vec<String>, line: usize, role: Role) {
        self.found.push(Path { segments, line, inside: self.inside.clone(), role });
    }
}

/// Whether the `::` at `at` goes on from a name or a `>`; else it opens a path (`::std::env`).
fn follows_a_type(tokens: &[TokenTree], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    is_punct(before, '>') || before.is_some_and(|t| matches!(t, TokenTree::Group(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::source::Source;

    fn written(text: &str) -> Vec<String> {
        let found = paths(&Source::parse(text).unwrap().tokens);
        found.iter().map(|p| format!("{}@{}", p.segments.join("::"), p.line)).collect()
    }

    #[test]
    fn use_trees_are_spread_out() {
        let text = "use a::{\n    b,\n    c::{self, d as e},\n    f::*,\n};\nuse ::std::env;";
        assert_eq!(written(text), ["a::b@2", "a::c@3", "a::c::d@3", "a::f@4", "std::env@6"]);
    }

    #[test]
    fn paths_in_bodies_macros_and_generics_are_seen() {
        let text = "fn f() {\n    select! { _ = crate::a::b() => {} }\n    Vec::<crate::c::D>::new();\n    ::std::env::var(\"X\");\n}";
        assert_eq!(written(text), ["crate::a::b@2", "crate::c::D@3", "std::env::var@4"]);
    }

    #[test]
    fn visibility_and_associated_items_are_not_paths() {
        let text = "pub(in crate::a) fn f() { <T as Into<U>>::into::x(1); }";
        assert_eq!(written(text), Vec::<String>::new());
    }

    #[test]
    fn capture_lists_are_not_imports() {
        assert_eq!(written("fn f<'a>() -> impl Sized + use<'a> { a::b() }"), ["a::b@1"]);
    }

    #[test]
    fn roles_tell_imports_exports_globs_and_macros_apart() {
        let text = "pub use a::b; use a::c as d; pub(crate) use a::*; fn f() { std::env!(\"A\") }";
        let roles: Vec<_> =
            paths(&Source::parse(text).unwrap().tokens).into_iter().map(|p| p.role).collect();
        let import = |name: &str, is_exported| Role::Import { name: name.into(), is_exported };
        assert_eq!(
            roles,
            [import("b", true), import("d", false), Role::Glob { is_exported: true }, Role::Macro]
        );
    }

    #[test]
    fn inline_modules_are_remembered() {
        let found = paths(&Source::parse("mod a { mod b { use super::c; } }").unwrap().tokens);
        assert_eq!(found[0].inside, ["a", "b"]);
    }
}
