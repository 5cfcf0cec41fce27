//! Names that may stand only where somebody answers for them.

use super::paths::Role;
use super::tree::{File, Mention, Target, Tree};
use super::{Rule, Violation};

/// A name of another crate, where it may stand, and what to do elsewhere.
struct Place {
    name: Name,
    allowed: Allowed,
    instead: &'static str,
}

enum Name {
    /// Anywhere in a path: `["process", "exit"]` in `std::process::exit`.
    Contains(&'static [&'static str]),
    /// At its beginning: `["rcgen"]` in `rcgen::KeyPair`.
    Opens(&'static [&'static str]),
}

enum Allowed {
    /// Only in these files and folders.
    Only(&'static [&'static str]),
    /// Everywhere but in these folders.
    Except(&'static [&'static str]),
}

const PLACES: &[Place] = &[
    Place {
        name: Name::Contains(&["SystemTime", "now"]),
        allowed: Allowed::Only(&["runtime/clock.rs"]),
        instead: "ask runtime::clock, which tests can set",
    },
    Place {
        name: Name::Contains(&["OffsetDateTime", "now_utc"]),
        allowed: Allowed::Only(&["runtime/clock.rs"]),
        instead: "ask runtime::clock, which tests can set",
    },
    Place {
        name: Name::Contains(&["OffsetDateTime", "now_local"]),
        allowed: Allowed::Only(&["runtime/clock.rs"]),
        instead: "ask runtime::clock, which tests can set",
    },
    Place {
        name: Name::Opens(&["tokio", "spawn"]),
        allowed: Allowed::Only(&["runtime/tasks.rs"]),
        instead: "spawn a named task by runtime::tasks, so that somebody awaits it",
    },
    Place {
        name: Name::Opens(&["tokio", "task", "spawn"]),
        allowed: Allowed::Only(&["runtime/tasks.rs"]),
        instead: "spawn a named task by runtime::tasks, so that somebody awaits it",
    },
    Place {
        name: Name::Opens(&["rcgen"]),
        allowed: Allowed::Only(&[]),
        instead: "certificates and CSRs are written by x509::issue and x509::csr; rcgen is for tests",
    },
    Place {
        name: Name::Opens(&["x509_parser"]),
        allowed: Allowed::Only(&["x509/"]),
        instead: "foreign DER is read in x509 only: take its parsed type",
    },
    Place {
        name: Name::Opens(&["std", "env"]),
        allowed: Allowed::Only(&["cli/", "config/"]),
        instead: "take the value as an argument; only cli and config read the environment",
    },
    Place {
        name: Name::Contains(&["process", "exit"]),
        allowed: Allowed::Only(&[]),
        instead: "return an error; main returns the exit code",
    },
    Place {
        name: Name::Opens(&["kube"]),
        allowed: Allowed::Only(&["k8s/", "controller/"]),
        instead: "the Kubernetes API is spoken in k8s and controller only: take their types",
    },
    Place {
        name: Name::Opens(&["k8s_openapi"]),
        allowed: Allowed::Only(&["k8s/", "controller/"]),
        instead: "the Kubernetes API is spoken in k8s and controller only: take their types",
    },
    Place {
        name: Name::Opens(&["tokio"]),
        allowed: Allowed::Except(&["x509/", "spiffe/", "config/"]),
        instead: "this layer holds pure values: no runtime",
    },
];

/// Where the generated protobuf types live, as a path from the crate root.
const GENERATED: &[&str] = &["wire", "proto"];

/// Where they may be named: the conversions, the services we serve, the calls we make.
const GENERATED_PLACES: &[&str] = &[
    "wire/",
    "agent/serve/",
    "server/api/",
    "csi/",
    "cli/",
    // The agent's calls to its server.
    "agent/node_attestation/",
    "agent/identity/renewal.rs",
    "agent/renew/batch.rs",
    "agent/sync/",
    // The controller's calls to its server.
    "controller/entries/",
    // What an operator would ask a server for.
    "dev/server_api.rs",
];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let product = tree.files.iter().filter(|f| f.layer() != "testing");
    let each = product.flat_map(|file| file.mentions.iter().map(move |mention| (file, mention)));
    each.filter_map(|(file, mention)| refuse(file, mention)).collect()
}

fn refuse(file: &File, mention: &Mention) -> Option<Violation> {
    let (name, instead) = match &mention.target {
        Target::Inside { resolved, .. } => {
            let is_generated = resolved.iter().take(GENERATED.len()).eq(GENERATED);
            if !is_generated || is_in(file, GENERATED_PLACES) {
                return None;
            }
            let instead = "generated types stop at wire: take the domain type (a new call site is \
                           entered in GENERATED_PLACES of tests/it/architecture/places.rs)";
            (resolved, instead)
        }
        // `env!` is read when finial is built, not when it runs.
        Target::Outside(_) if mention.role == Role::Macro => return None,
        Target::Outside(path) => {
            (path, PLACES.iter().find(|p| p.name.is_in(path) && !p.allowed.has(file))?.instead)
        }
    };
    Some(Violation {
        rule: Rule::Place,
        file: file.name.clone(),
        line: mention.line,
        text: format!("`{}` may not stand here: {instead}", name.join("::")),
    })
}

impl Name {
    fn is_in(&self, path: &[String]) -> bool {
        match self {
            Self::Contains(name) => path.windows(name.len()).any(|part| part == *name),
            Self::Opens(name) => path.iter().take(name.len()).eq(name.iter()),
        }
    }
}

impl Allowed {
    fn has(&self, file: &File) -> bool {
        match self {
            Self::Only(places) => is_in(file, places),
            Self::Except(places) => !is_in(file, places),
        }
    }
}

fn is_in(file: &File, places: &[&str]) -> bool {
    places.iter().any(|place| match place.strip_suffix('/') {
        Some(_) => file.name.starts_with(place),
        None => file.name == *place,
    })
}
