//! The rules of ARCHITECTURE.md, enforced on `src/`: which module may name which, no cycle, how long
//! a file and a function may be, where a few dangerous names may stand. Each rule is a function over
//! the lexed tree; `bad_trees` proves for each that it can fail.

mod arrows;
mod bad_trees;
mod cycles;
mod paths;
mod places;
mod shape;
mod sizes;
mod source;
mod tree;

use std::fmt;
use std::path::Path;

/// Files between 400 and 600 lines that are better left whole, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Syntax,
    Arrow,
    Cycle,
    FileLength,
    FunctionLength,
    Aim,
    HeadDoc,
    Contents,
    Name,
    Place,
}

/// Where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Everything wrong with the tree under `src`, by file and line.
fn violations(src: &Path, long_files: &[(&str, &str)]) -> Vec<Violation> {
    let (tree, mut found) = tree::Tree::read(src).unwrap();
    found.extend(arrows::check(&tree));
    found.extend(cycles::check(&tree));
    found.extend(sizes::check(&tree, long_files));
    found.extend(shape::check(&tree));
    found.extend(places::check(&tree));
    found.sort();
    found
}

#[test]
fn the_source_tree_keeps_the_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let found = violations(&src, LONG_FILES);
    let report: String = found.iter().map(|v| format!("{v}\n")).collect();
    assert!(found.is_empty(), "{} rule(s) of ARCHITECTURE.md broken:\n{report}", found.len());
}
