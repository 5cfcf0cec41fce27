//! What is compared, in the order of the table: what costs CPU before what takes time.

use serde_json::{Value, json};

/// Sidecars that connect first.
pub(super) const FEW: usize = 200;
/// Sidecars that are connected in the end.
pub(super) const MANY: usize = 1_000;
/// How many may be without their first secrets at one time, where both products shall survive: a real
/// spire-agent stops for good at 400 to 1,000.
pub(super) const IN_TURN: usize = 64;
/// How often every sidecar has been pushed another secret before its memory counts.
pub(super) const PUSHES: usize = 2;
/// Entries that are created while their client waits.
pub(super) const REGISTRATIONS: u32 = 20;
/// Seconds of doing nothing: four of SPIRE's synchronisations.
pub(super) const IDLE_SECS: u32 = 20;
/// How long a fleet that connects all at once may wait.
pub(super) const AT_ONCE_SECS: u32 = 15;

/// A figure that both products have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// CPU time of the agent for each of the first sidecars.
    FewCpu,
    /// The same for each of the others.
    ManyCpu,
    /// The same for each sidecar of a fleet that connects at once.
    AtOnceCpu,
    /// CPU time of the agent for each sidecar when an SVID is replaced.
    PushCpu,
    /// CPU time of an agent on whose node nothing happens.
    IdleAgentCpu,
    /// How often that agent wakes up.
    IdleAgentWakeups,
    /// CPU time of its server meanwhile.
    IdleServerCpu,
    /// Memory of the agent per sidecar.
    SidecarMemory,
    /// Memory of the agent without sidecars.
    AgentMemory,
    /// Memory of the server.
    ServerMemory,
    /// From an entry's creation to its secret, the middle one.
    LateMedian,
    /// The same, the longest.
    LateLongest,
    /// Until the first sidecars have all their secrets.
    FewTime,
    /// The same for the others.
    ManyTime,
    /// The same for a fleet that connects at once.
    AtOnceTime,
    /// From the first to the last sidecar that is pushed a replaced SVID.
    PushTime,
}

/// What one product made of a figure.
pub(super) type Sample = Result<f64, String>;

impl Figure {
    /// Every figure, in the order of the table.
    pub(super) const ALL: [Self; 16] = [
        Self::FewCpu,
        Self::ManyCpu,
        Self::AtOnceCpu,
        Self::PushCpu,
        Self::IdleAgentCpu,
        Self::IdleAgentWakeups,
        Self::IdleServerCpu,
        Self::SidecarMemory,
        Self::AgentMemory,
        Self::ServerMemory,
        Self::LateMedian,
        Self::LateLongest,
        Self::FewTime,
        Self::ManyTime,
        Self::AtOnceTime,
        Self::PushTime,
    ];

    /// What it is, for people.
    pub(super) fn what(self) -> String {
        let others = MANY - FEW;
        match self {
            Self::FewCpu => format!("{FEW} sidecars, {IN_TURN} at a time: agent CPU for each"),
            Self::ManyCpu => format!("{others} more, {IN_TURN} at a time: agent CPU for each"),
            Self::AtOnceCpu => format!("{MANY} sidecars at once: agent CPU for each"),
            Self::PushCpu => format!("an SVID replaced at {MANY} sidecars: agent CPU for each"),
            Self::IdleAgentCpu => format!("idle agent with {FEW} sidecars: CPU"),
            Self::IdleAgentWakeups => format!("idle agent with {FEW} sidecars: wake-ups"),
            Self::IdleServerCpu => "idle server with one agent: CPU".to_owned(),
            Self::SidecarMemory => format!(
                "agent memory per sidecar after {PUSHES} pushes, slope {FEW} to {MANY}: RSS"
            ),
            Self::AgentMemory => "agent without sidecars: RSS".to_owned(),
            Self::ServerMemory => "server with one entry: RSS".to_owned(),
            Self::LateMedian => {
                format!("entry created → secret at a waiting client, p50 of {REGISTRATIONS}")
            }
            Self::LateLongest => "entry created → secret at a waiting client, longest".to_owned(),
            Self::FewTime => format!("{FEW} sidecars, {IN_TURN} at a time: until all are served"),
            Self::ManyTime => format!("{others} more, {IN_TURN} at a time: until all are served"),
            Self::AtOnceTime => format!("{MANY} sidecars at once: until all are served"),
            Self::PushTime => format!("an SVID replaced at {MANY} sidecars: from first to last"),
        }
    }

    /// Its unit.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::FewCpu | Self::ManyCpu | Self::AtOnceCpu | Self::PushCpu => "µs",
            Self::IdleAgentCpu | Self::IdleServerCpu => "ms/s",
            Self::IdleAgentWakeups => "/s",
            Self::SidecarMemory => "KB",
            Self::AgentMemory | Self::ServerMemory => "MB",
            Self::LateMedian
            | Self::LateLongest
            | Self::FewTime
            | Self::ManyTime
            | Self::AtOnceTime
            | Self::PushTime => "ms",
        }
    }

    /// The conditions, for the JSON report.
    pub(super) fn conditions() -> Value {
        json!({
            "few": FEW,
            "many": MANY,
            "in_turn": IN_TURN,
            "pushes": PUSHES,
            "registrations": REGISTRATIONS,
            "idle_secs": IDLE_SECS,
            "at_once_secs": AT_ONCE_SECS,
        })
    }
}
