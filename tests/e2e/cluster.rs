//! A cluster for one test: `tests/cluster/cluster.sh` starts it, and dropping it ends it, after a panic too.
//! Knows Kubernetes by its commands only, and nothing of what is installed.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};
use tokio::time::Instant;

/// How often something is looked at that is waited for. What is measured is rounded up by this.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running cluster, with finial's images and those of the test pods.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Held while it runs: all clusters of a machine would share one control group.
    _turn: File,
}

/// A command that did not succeed, with what it said.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The command, and both of its outputs.
    pub(crate) text: String,
}

impl Cluster {
    /// Starts a cluster with these archives of images beside finial's and the base.
    pub(crate) fn up(archives: &[&str]) -> Self {
        let turn = File::create(parts().join("turn")).expect("what build.sh has made");
        turn.lock().expect("the only cluster's turn");
        let cluster = Self { _turn: turn };
        // What a test that was killed has left.
        run(script().arg("down")).unwrap();
        let images =
            ["base.tar"].iter().chain(archives).map(|name| parts().join("images").join(name));
        let started = Instant::now();
        run(script().arg("up").arg(set("FINIAL_IMAGE")).args(images)).unwrap();
        tell("the cluster is up", started);
        cluster
    }

    /// Runs a program on the node.
    pub(crate) fn run(&self, command: &[&str]) -> Result<String, Failed> {
        run(script().arg("exec").args(command))
    }

    /// Runs `kubectl` with these arguments, which must succeed, for what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.run(&[&["kubectl"], arguments].concat()).unwrap()
    }

    /// Runs the words of a shell's command line, as guides print them.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> String {
        self.run(&["bash", "-o", "pipefail", "-ec", line])
            .unwrap_or_else(|failed| panic!("{line}: {failed:?}"))
    }

    /// Applies a manifest.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) -> String {
        self.try_to_apply(manifest).unwrap()
    }

    /// Applies custom resources that a webhook looks at.
    #[track_caller]
    pub(crate) fn declare(&self, manifest: &str) {
        within(Duration::from_secs(10), "the webhook", || match self.try_to_apply(manifest) {
            Ok(_) => Some(()),
            Err(failed) if is_too_early(&failed.text) => None,
            Err(failed) => panic!("{}", failed.text),
        });
    }

    fn try_to_apply(&self, manifest: &str) -> Result<String, Failed> {
        let mut command = script();
        command.args(["exec", "kubectl", "apply", "-f", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("bash");
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        judged(&command, &child.wait_with_output().unwrap())
    }

    /// A file of this cluster's, in the folder that its shells know as `$RUN`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        parts().join("run").join(name)
    }

    /// Writes such a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// An object, or a list of them, as `kubectl get … -o json` prints it.
    #[track_caller]
    pub(crate) fn object(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The name of the one pod in this namespace with this label that is not about to end.
    #[track_caller]
    pub(crate) fn pod(&self, namespace: &str, label: &str) -> String {
        let list = self.object(&["pods", "-n", namespace, "-l", label]);
        let living = list["items"].as_array().unwrap().iter();
        let living: Vec<&Value> =
            living.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        let [pod] = living[..] else { panic!("{} pods in {namespace} with {label}", living.len()) };
        pod["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Waits until every replica of a deployment, stateful set or daemon set is ready.
    #[track_caller]
    pub(crate) fn rolled_out(&self, namespace: &str, what: &str) {
        self.kubectl(&["rollout", "status", "-n", namespace, what, "--timeout=90s"]);
    }

    /// Stops or starts programs of the node.
    pub(crate) fn program(&self, verb: &str, programs: &[&str]) {
        run(script().arg(verb).args(programs)).unwrap();
    }

    /// What went wrong is in here: pods, events, and the last lines of every container.
    fn tell_all(&self) {
        for line in [
            "kubectl get pods -A -o wide",
            "kubectl get events -A --field-selector type=Warning --sort-by=.lastTimestamp | tail -n 40",
            "for log in /var/log/pods/*/*/*.log; do echo \"== $log\"; tail -n 25 $log; done",
            "tail -n 5 $RUN/log/*.log",
        ] {
            match self.run(&["bash", "-c", line]) {
                Ok(text) => eprintln!("# {line}\n{text}"),
                Err(failed) => eprintln!("# {line}\n{}", failed.text),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell_all();
        }
        if let Err(failed) = run(script().arg("down")) {
            eprintln!("{}", failed.text);
        }
    }
}

/// Waits until `found` finds something, for that.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Why a webhook is not reached yet: kube-proxy leads to a pod a moment after the pod is ready, refuses
/// connections until then, and for an instant between the two leads nowhere; and the controller has a
/// certificate once it has seen its configuration.
const TOO_EARLY: [&str; 3] = ["connection refused", "no route to host", "tls: access denied"];

/// Whether a webhook was not reached yet.
pub(crate) fn is_too_early(failed: &str) -> bool {
    failed.contains("failed calling webhook")
        && TOO_EARLY.into_iter().any(|reason| failed.contains(reason))
}

/// Prints how long it took.
pub(crate) fn tell(what: &str, since: Instant) {
    eprintln!("{what} after {:.2} s", since.elapsed().as_secs_f64());
}

/// Where build.sh has put what the cluster is made of.
pub(crate) fn parts() -> PathBuf {
    set("FINIAL_CLUSTER")
}

/// A file of Istio's module: its samples and charts.
pub(crate) fn istio(path: &str) -> String {
    let path = parts().join("istio").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn script() -> Command {
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster.sh"));
    command.env("PARTS", parts());
    command
}

/// The file or folder that a variable of the Makefile names.
pub(crate) fn set(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!(
            "{variable} is not set: run `make test`, or `make setup-cluster image` and set it as the Makefile does"
        );
    };
    path.into()
}

fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).output().expect("bash");
    judged(command, &output)
}

fn judged(command: &Command, output: &Output) -> Result<String, Failed> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(stdout.into_owned());
    }
    let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = format!("{}: {}\n{stdout}{stderr}", arguments.join(" "), output.status);
    Err(Failed { text })
}
