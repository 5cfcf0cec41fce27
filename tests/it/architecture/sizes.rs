//! How long a file and a function may be, and the distribution that keeps the tree pleasant.

use super::source::Function;
use super::tree::Tree;
use super::{Rule, Violation};

const LONG_FILE: usize = 400;
const LONGEST_FILE: usize = 600;
const LONG_FUNCTION: usize = 60;
const LONGEST_FUNCTION: usize = 80;
const MEDIAN_FILE: usize = 150;
const P90_FILE: usize = 350;

pub(crate) fn check(tree: &Tree, long_files: &[(&str, &str)]) -> Vec<Violation> {
    let mut found = files(tree, long_files);
    found.extend(stale_entries(tree, long_files));
    found.extend(functions(tree));
    found.extend(aims(tree));
    found
}

fn files(tree: &Tree, long_files: &[(&str, &str)]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &tree.files {
        let lines = file.source.lines;
        let is_reasoned =
            long_files.iter().any(|(name, reason)| *name == file.name && !reason.trim().is_empty());
        let text = if lines > LONGEST_FILE {
            format!("{lines} lines without tests, never more than {LONGEST_FILE}: split it")
        } else if lines > LONG_FILE && !is_reasoned {
            format!(
                "{lines} lines without tests, more than {LONG_FILE}: split it by noun, or enter it \
                 with its reason in LONG_FILES of tests/it/architecture.rs"
            )
        } else {
            continue;
        };
        found.push(Violation { rule: Rule::FileLength, file: file.name.clone(), line: 1, text });
    }
    found
}

fn stale_entries(tree: &Tree, long_files: &[(&str, &str)]) -> Vec<Violation> {
    let is_long =
        |name: &str| tree.files.iter().any(|f| f.name == name && f.source.lines > LONG_FILE);
    let stale = long_files.iter().filter(|(name, _)| !is_long(name));
    stale
        .map(|(name, _)| Violation {
            rule: Rule::FileLength,
            file: (*name).into(),
            line: 1,
            text: "is not long any more: take it off LONG_FILES".into(),
        })
        .collect()
}

fn functions(tree: &Tree) -> Vec<Violation> {
    let too_long = |file: &str, function: &Function| Violation {
        rule: Rule::FunctionLength,
        file: file.into(),
        line: function.line,
        text: format!(
            "`{}` has {} lines, never more than {LONGEST_FUNCTION}: give its parts names",
            function.name, function.lines
        ),
    };
    let all = tree.files.iter().flat_map(|f| {
        let long = f.source.functions().into_iter().filter(|f| f.lines > LONGEST_FUNCTION);
        long.map(|function| too_long(&f.name, &function)).collect::<Vec<_>>()
    });
    all.collect()
}

/// Judged over the product; `testing` is no part of it.
fn aims(tree: &Tree) -> Vec<Violation> {
    let product = || tree.files.iter().filter(|f| f.layer() != "testing");
    let mut lines: Vec<usize> = product().map(|f| f.source.lines).collect();
    lines.sort_unstable();
    let functions: Vec<(&str, Function)> = product()
        .flat_map(|f| f.source.functions().into_iter().map(|function| (f.name.as_str(), function)))
        .collect();
    let long: Vec<_> = functions.iter().filter(|(_, f)| f.lines > LONG_FUNCTION).collect();

    let mut found = Vec::new();
    let mut miss = |line: usize, file: &str, text: String| {
        found.push(Violation { rule: Rule::Aim, file: file.into(), line, text });
    };
    let longest = product().max_by_key(|f| f.source.lines).map_or("", |f| f.name.as_str());
    let (median, p90) = (quantile(&lines, 50), quantile(&lines, 90));
    if median > MEDIAN_FILE {
        let text =
            format!("the median file has {median} lines, aim {MEDIAN_FILE}: split the longest");
        miss(1, longest, text);
    }
    if p90 > P90_FILE {
        let text = format!("p90 of the files is {p90} lines, aim {P90_FILE}: split the longest");
        miss(1, longest, text);
    }
    // Under 2 %.
    if let Some((file, first)) = long.first()
        && long.len() * 50 >= functions.len()
    {
        let names: Vec<_> = long.iter().map(|(_, f)| f.name.as_str()).collect();
        miss(
            first.line,
            file,
            format!(
                "{} of {} functions have more than {LONG_FUNCTION} lines, aim under 2 %: {}",
                long.len(),
                functions.len(),
                names.join(", ")
            ),
        );
    }
    found
}

/// The smallest value that `percent` of the sorted values do not exceed.
fn quantile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
