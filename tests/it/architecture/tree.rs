//! The module tree under `src/`: which file is which module, and what a written path means in it,
//! through imports and re-exports. Owns resolution; knows no rule.

use super::paths::{Path, Role, paths};
use super::source::Source;
use super::{Rule, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::{fs, io};

/// A module's place below the crate root: `["agent", "cache", "view"]`; empty for `lib.rs`.
pub(crate) type Module = Vec<String>;

/// A product file (tests are not in the tree).
pub(crate) struct File {
    /// Below `src/`, with `/`: `agent/cache/view.rs`.
    pub(crate) name: String,
    pub(crate) module: Module,
    pub(crate) source: Source,
    /// Every path the file names, as [`Tree`] resolved it.
    pub(crate) mentions: Vec<Mention>,
}

/// A path with its meaning.
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) role: Role,
    pub(crate) target: Target,
}

pub(crate) enum Target {
    /// Somewhere in this crate.
    Inside {
        /// Counted from the crate root, imports expanded.
        written: Vec<String>,
        /// The same, behind re-exports.
        resolved: Vec<String>,
        /// The module that `resolved` lies in.
        module: Module,
    },
    /// Another crate, `std`, or a name of this file.
    Outside(Vec<String>),
}

pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    exports: Exports,
}

impl File {
    pub(crate) fn is_contents(&self) -> bool {
        self.name == "lib.rs" || self.name.ends_with("mod.rs")
    }

    /// The first folder or file below `src/`: `agent`, `main`.
    pub(crate) fn layer(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

impl Tree {
    /// Reads every `.rs` file under `src`; what does not lex is a violation.
    pub(crate) fn read(src: &FilePath) -> io::Result<(Self, Vec<Violation>)> {
        let mut names = Vec::new();
        list(src, "", &mut names)?;
        let mut sources = Vec::new();
        let mut broken = Vec::new();
        for name in names {
            match Source::parse(&fs::read_to_string(src.join(&name))?) {
                Ok(source) => sources.push((name, source)),
                Err(line) => broken.push(Violation {
                    rule: Rule::Syntax,
                    file: name,
                    line,
                    text: "this is not Rust: fix the token here".into(),
                }),
            }
        }
        Ok((Self::resolve(product_only(sources)), broken))
    }

    fn resolve(sources: Vec<(String, Source)>) -> Self {
        let modules: BTreeSet<Module> = sources.iter().map(|(name, _)| module_of(name)).collect();
        let written: Vec<Vec<Path>> = sources.iter().map(|(_, s)| paths(&s.tokens)).collect();
        let mut exports = Exports { modules, ..Exports::default() };
        let scopes: Vec<Scope> = sources
            .iter()
            .zip(&written)
            .map(|((name, _), paths)| Scope::of(name, paths, &mut exports))
            .collect();
        let files = sources.into_iter().zip(written).zip(scopes);
        let files = files.map(|(((name, source), paths), scope)| File {
            mentions: paths.into_iter().map(|path| scope.mention(path, &exports)).collect(),
            module: module_of(&name),
            name,
            source,
        });
        Self { files: files.collect(), exports }
    }

    /// Whether `module` re-exports `name`.
    pub(crate) fn is_exported(&self, module: &[String], name: &str) -> bool {
        self.exports.names.contains_key(&(module.to_vec(), name.to_owned()))
    }
}

fn list(dir: &FilePath, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else if name.ends_with(".rs") {
            names.push(name);
        }
    }
    Ok(())
}

/// Leaves out `tests.rs`, `tests/` and the files of modules declared under `#[cfg(test)]`, except
/// `testing/`, whose sizes and heads are held to the rules like any other's.
fn product_only(sources: Vec<(String, Source)>) -> Vec<(String, Source)> {
    let test_modules: BTreeSet<Module> = sources
        .iter()
        .flat_map(|(name, source)| {
            let parent = module_of(name);
            source
                .test_mods
                .iter()
                .map(move |test| [parent.as_slice(), std::slice::from_ref(test)].concat())
        })
        .filter(|module| *module != ["testing"])
        .collect();
    let is_test = |name: &str, source: &Source| {
        let module = module_of(name);
        source.is_test_file
            || module.iter().any(|segment| segment == "tests")
            || (1..=module.len()).any(|n| test_modules.contains(&module[..n]))
    };
    sources.into_iter().filter(|(name, source)| !is_test(name, source)).collect()
}

fn module_of(name: &str) -> Module {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// What modules offer under names of their own.
#[derive(Default)]
struct Exports {
    modules: BTreeSet<Module>,
    names: BTreeMap<(Module, String), Vec<String>>,
    globs: BTreeMap<Module, Vec<Vec<String>>>,
}

impl Exports {
    fn module_around(&self, path: &[String]) -> Module {
        let is_module = |n: &usize| self.modules.contains(&path[..*n]);
        (0..=path.len()).rev().find(is_module).map_or_else(Vec::new, |n| path[..n].to_vec())
    }

    /// Follows re-exports; a ring of them ends after a few turns.
    fn follow(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        for _ in 0..16 {
            let Some(next) = self.step(&path) else { break };
            path = next;
        }
        path
    }

    fn step(&self, path: &[String]) -> Option<Vec<String>> {
        for split in (0..path.len()).rev() {
            let (module, rest) = path.split_at(split);
            if rest.len() > 1 && self.modules.contains(&path[..=split]) {
                continue;
            }
            if let Some(target) = self.names.get(&(module.to_vec(), rest[0].clone())) {
                let next = [target.as_slice(), &rest[1..]].concat();
                return (next != path).then_some(next);
            }
            let through_glob = |target: &Vec<String>| {
                let next = [target.as_slice(), rest].concat();
                (self.names.contains_key(&(target.clone(), rest[0].clone()))
                    || self.modules.contains(&next[..=target.len()]))
                .then_some(next)
            };
            if let Some(next) =
                self.globs.get(module).and_then(|targets| targets.iter().find_map(through_glob))
            {
                return Some(next);
            }
        }
        None
    }
}

/// The names a file binds by `use`, and where it stands.
struct Scope {
    module: Module,
    is_main: bool,
    imports: BTreeMap<String, Resolved>,
}

#[derive(Clone)]
enum Resolved {
    Inside(Vec<String>),
    Outside(Vec<String>),
}

impl Scope {
    fn of(name: &str, paths: &[Path], exports: &mut Exports) -> Self {
        let mut scope =
            Self { module: module_of(name), is_main: name == "main.rs", imports: BTreeMap::new() };
        // Twice: a `use` may go through a name that a later `use` binds.
        for _ in 0..2 {
            for path in paths {
                if let Role::Import { name, .. } = &path.role {
                    let target = scope.resolve(path, exports);
                    scope.imports.insert(name.clone(), target);
                }
            }
        }
        for path in paths {
            scope.export(path, exports);
        }
        scope
    }

    fn export(&self, path: &Path, exports: &mut Exports) {
        let here = [self.module.as_slice(), &path.inside].concat();
        match (&path.role, self.resolve(path, exports)) {
            (Role::Import { name, is_exported: true }, Resolved::Inside(target)) => {
                exports.names.insert((here, name.clone()), target);
            }
            (Role::Glob { is_exported: true }, Resolved::Inside(target)) => {
                exports.globs.entry(here).or_default().push(target);
            }
            _ => {}
        }
    }

    fn resolve(&self, path: &Path, exports: &Exports) -> Resolved {
        let mut here = [self.module.as_slice(), &path.inside].concat();
        let mut rest = path.segments.as_slice();
        let mut is_relative = false;
        while let [head, tail @ ..] = rest {
            match head.as_str() {
                "crate" => here.clear(),
                "finial" if self.is_main => here.clear(),
                "self" => {}
                "super" => drop(here.pop()),
                _ => break,
            }
            is_relative = true;
            rest = tail;
        }
        if is_relative {
            return Resolved::Inside([&here, rest].concat());
        }
        let Some(head) = rest.first() else { return Resolved::Outside(Vec::new()) };
        // `use a::a` does not go through the name that it binds.
        let binds_head = matches!(&path.role, Role::Import { name, .. } if name == head);
        match self.imports.get(head).filter(|_| !binds_head) {
            Some(Resolved::Inside(base)) => Resolved::Inside([base, &rest[1..]].concat()),
            Some(Resolved::Outside(base)) => Resolved::Outside([base, &rest[1..]].concat()),
            None => {
                here.push(head.clone());
                if exports.modules.contains(&here) {
                    Resolved::Inside([&here, &rest[1..]].concat())
                } else {
                    Resolved::Outside(rest.to_vec())
                }
            }
        }
    }

    fn mention(&self, path: Path, exports: &Exports) -> Mention {
        let target = match self.resolve(&path, exports) {
            Resolved::Outside(segments) => Target::Outside(segments),
            Resolved::Inside(written) => {
                let resolved = exports.follow(&written);
                Target::Inside { module: exports.module_around(&resolved), resolved, written }
            }
        };
        Mention { line: path.line, role: path.role, target }
    }
}
