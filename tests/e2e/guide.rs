//! Guides, played: their commands, one after the other, and whether each prints what the guide shows.
//!
//! A file below `tests/fixtures/guides` is a list of steps. `$ ` opens one with its command, lines that begin
//! with two spaces go on with it, `> ` is a line of what it prints, `#` a comment. A command without such a
//! line must succeed, and may print what it likes. Variables that a step sets are there for the later ones.
//! What differs from run to run is masked ([`mask`]), and so is how far columns are apart.

use crate::{
    charts::{IMAGE, STORAGE},
    cluster::{self, Cluster},
};
use std::{fmt::Write as _, fs, os::unix::fs::symlink, path::Path, thread, time::Duration};
use tokio::time::Instant;

pub(crate) mod markdown;
mod mask;

/// How long a question is asked again until the answer is the guide's: a person would look again, too.
const LOOKING: Duration = Duration::from_secs(20);

/// What begins or is part of a command that changes nothing.
const QUESTIONS: [&str; 8] =
    ["kubectl get ", " show", " list", "proxy-config", "openssl", "kubectl logs", "wget", "doctor"];

/// One who follows guides in a cluster, in a folder of the cluster's own.
pub(crate) struct Reader<'c> {
    cluster: &'c Cluster,
    /// The variables set so far, as commands.
    variables: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    /// Empty: not shown.
    shown: String,
}

impl<'c> Reader<'c> {
    /// A reader with the repository's charts, finial, helm, and these files. To helm and istioctl it is added what
    /// is owed to the machine: `machine.yaml` of these files, images, and a place for the server's data.
    pub(crate) fn new(cluster: &'c Cluster, files: &[(&str, &str)]) -> Self {
        let folder = cluster.file("guide");
        fs::create_dir(&folder).unwrap();
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("charts"), folder.join("charts"))
            .unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let variables = format!(
            r#"cd {folder}
helm() {{ if [ "$3" = charts/spire ]; then set -- "$@" {IMAGE} {STORAGE}; fi; {helm} "$@"; }}
istioctl() {{ if [ "$1" = install ]; then set -- "$@" -f machine.yaml; fi; command istioctl "$@"; }}
finial() {{ {finial} "$@"; }}
"#,
            folder = folder.display(),
            helm = cluster::set("FINIAL_HELM").display(),
            finial = env!("CARGO_BIN_EXE_finial"),
        );
        Self { cluster, variables }
    }

    /// Sets a variable of the later steps.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        writeln!(self.variables, "{name}='{value}'").unwrap();
    }

    /// Plays a guide to its end, and fails with everything that is not as it shows.
    #[track_caller]
    pub(crate) fn plays(&mut self, guide: &str) {
        let mut differences = String::new();
        for step in read(guide) {
            if let Err(found) = self.takes(&step) {
                let Step { command, shown } = step;
                writeln!(differences, "$ {command}\n{found}\nshown:\n{shown}").unwrap();
            }
        }
        assert!(differences.is_empty(), "{differences}");
    }

    /// Types the commands of a chapter, each of which must succeed. `POD` and `PID` stand for those that are set.
    #[track_caller]
    pub(crate) fn types(&mut self, chapter: &str, commands: &[String]) {
        for command in commands {
            let command = command.replace(" POD ", " $POD ").replace(" PID", " $PID");
            let step = Step { command, shown: String::new() };
            if let Err(failed) = self.takes(&step) {
                panic!("{chapter}:\n$ {}\n{failed}", step.command);
            }
        }
    }

    /// Takes one step, or tells what came instead of what is shown.
    fn takes(&mut self, Step { command, shown }: &Step) -> Result<(), String> {
        if let Some(name) = assigned(command) {
            let declared = self.run(&format!("{command}\ndeclare -p {name}"))?;
            self.variables.push_str(&declared);
            return Ok(());
        }
        let shown = mask::with_gaps_alike(shown);
        let is_question = QUESTIONS.iter().any(|part| command.contains(part));
        let started = Instant::now();
        loop {
            let (is_ok, came) = match self.run(command) {
                Ok(printed) => (true, mask::masked(&printed)),
                Err(failed) => (false, failed),
            };
            if is_ok && (shown.is_empty() || came == shown) {
                return Ok(());
            }
            let may_repeat = is_question || cluster::is_too_early(&came);
            if !may_repeat || started.elapsed() > LOOKING {
                return Err(came);
            }
            thread::sleep(cluster::LOOK_EVERY);
        }
    }

    fn run(&self, command: &str) -> Result<String, String> {
        let script = format!("{}{command}", self.variables);
        self.cluster.run(&["bash", "-o", "pipefail", "-ec", &script]).map_err(|failed| failed.text)
    }
}

fn read(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in guide.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), shown: String::new() });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let step = steps.last_mut().expect("a guide begins with a command");
        if let Some(more) = line.strip_prefix("  ") {
            step.command.extend(["\n", more]);
        } else if let Some(shown) = line.strip_prefix('>') {
            step.shown.extend([shown.strip_prefix(' ').unwrap_or(shown), "\n"]);
        } else {
            panic!("what is {line:?}?");
        }
    }
    steps
}

/// The variable that a command sets, if it does nothing else.
fn assigned(command: &str) -> Option<&str> {
    let (name, value) = command.split_once('=')?;
    let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    (is_name && value.starts_with("$(")).then_some(name)
}

#[test]
fn a_guide_is_read_step_by_step() {
    let steps = read("# c\n$ A_B=$(x)\n\n$ y <<E\n  z\n  E\n> 1\n>\n>   2\n");
    let step = |command: &str, shown: &str| Step { command: command.into(), shown: shown.into() };
    assert_eq!(steps, [step("A_B=$(x)", ""), step("y <<E\nz\nE", "1\n\n  2\n")]);
    assert_eq!((assigned(&steps[0].command), assigned(&steps[1].command)), (Some("A_B"), None));
}
