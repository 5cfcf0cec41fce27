//! No cycle: neither among files, nor among the top-level modules when each is seen as a whole.

use super::tree::{Module, Target, Tree};
use super::{Rule, Violation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From a module to those it names, each with the first place where it does.
type Edges = BTreeMap<Module, BTreeMap<Module, (String, usize)>>;

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = cycles(&edges(tree, 1), "among the top-level modules");
    found.extend(cycles(&edges(tree, usize::MAX), "among files"));
    found
}

/// `depth` 1 sees `agent/cache/view.rs` as `agent`.
fn edges(tree: &Tree, depth: usize) -> Edges {
    let cut = |module: &Module| module[..module.len().min(depth)].to_vec();
    let contents: BTreeSet<&Module> =
        tree.files.iter().filter(|f| f.is_contents()).map(|f| &f.module).collect();
    let mut edges = Edges::new();
    for file in &tree.files {
        for mention in &file.mentions {
            let Target::Inside { module, .. } = &mention.target else { continue };
            // A table of contents names its chapters and is named for them: resolution has already
            // gone through it. Seen as a whole, it is part of its top-level module.
            if depth > 1 && (file.is_contents() || contents.contains(module)) {
                continue;
            }
            let (from, to) = (cut(&file.module), cut(module));
            if from != to && !from.is_empty() && !to.is_empty() {
                let place = (file.name.clone(), mention.line);
                edges.entry(from).or_default().entry(to).or_insert(place);
            }
        }
    }
    edges
}

/// One shortest cycle for each knot of modules.
fn cycles(edges: &Edges, where_: &str) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        let Some(cycle) = shortest_cycle(edges, start) else { continue };
        if cycle.iter().any(|module| seen.contains(module)) {
            continue;
        }
        found.push(describe(edges, &cycle, where_));
        seen.extend(cycle);
    }
    found
}

/// The modules of a shortest way from `start` back to itself, `start` first.
fn shortest_cycle(edges: &Edges, start: &Module) -> Option<Vec<Module>> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in edges.get(at).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let back = std::iter::successors(Some(at), |m| came_from.get(m).copied());
                let mut cycle: Vec<Module> = back.cloned().collect();
                cycle.reverse();
                return Some(cycle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

fn describe(edges: &Edges, cycle: &[Module], where_: &str) -> Violation {
    let next = |at: usize| &cycle[(at + 1) % cycle.len()];
    let place = |at: usize| &edges[&cycle[at]][next(at)];
    let steps: Vec<String> = (0..cycle.len())
        .map(|at| {
            let (file, line) = place(at);
            format!("{} → {} (src/{file}:{line})", cycle[at].join("::"), next(at).join("::"))
        })
        .collect();
    let (file, line) = place(0).clone();
    Violation {
        rule: Rule::Cycle,
        file,
        line,
        text: format!(
            "cycle {where_}: {}; move what both ends need into a module below them",
            steps.join(", ")
        ),
    }
}
