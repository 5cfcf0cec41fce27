//! What a configuration may say and should not: worth a line in the log, no reason to stay down.

use std::time::Duration;

use super::value::spell_duration;

/// A configuration that can be used, and what its user should know.
#[derive(Debug)]
pub struct Loaded<C> {
    /// What the program runs with.
    pub config: C,
    /// To be logged once there is a log.
    pub warnings: Vec<Warning>,
}

/// Something that works, but not as its author may think. The texts are SPIRE's where SPIRE warns too.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A lifetime that the CA's lifetime will cut.
    #[error(
        "{setting} is too high for the configured ca_ttl value. SVIDs with shorter lifetimes may be issued. Please set \
         {setting} to {} or less, or the ca_ttl to {} or more, to guarantee the full {setting} lifetime when CA \
         rotations are scheduled.", spell_duration(*longest), spell_duration(*ca_ttl)
    )]
    LongerThanCa {
        /// The lifetime's setting.
        setting: &'static str,
        /// The longest that this CA lifetime carries.
        longest: Duration,
        /// The CA lifetime that would carry it.
        ca_ttl: Duration,
    },
    /// A lifetime that no CA lifetime can guarantee.
    #[error(
        "{setting} is too high. SVIDs with shorter lifetimes may be issued. Please set {setting} to {} or less to \
         guarantee the full {setting} lifetime when CA rotations are scheduled.", spell_duration(*longest)
    )]
    LongerThanAnyCa {
        /// The lifetime's setting.
        setting: &'static str,
        /// The longest that this CA lifetime carries.
        longest: Duration,
    },
    /// `ca_subject` without a value in it.
    #[error("ca_subject configurable is set but empty; the default will be used")]
    EmptyCaSubject,
    /// Both SDS bundle names are the same.
    #[error(
        "The \"default_bundle_name\" and \"default_all_bundles_name\" configurables have the same value. \
         \"default_all_bundles_name\" will be ignored. Please configure distinct values or use the defaults."
    )]
    SameBundleNames,
    /// `k8s_psat` without a cluster.
    #[error("No clusters configured, PSAT attestation is effectively disabled")]
    NoClusters,
    /// `k8s_configmap` without a cluster.
    #[error("No clusters configured, bundle will not be published")]
    BundleNotPublished,
    /// Settings of JWT-SVIDs, which finial does not issue yet.
    #[error(
        "{} without effect: finial issues no JWT-SVIDs yet and answers a request for one with Unimplemented; set \
         disable_jwt_svids if none are wanted", settings.join(", ")
    )]
    NoJwtSvids {
        /// The settings.
        settings: Vec<&'static str>,
    },
    /// A bundle endpoint without profile.
    #[error(
        "Bundle endpoint is configured but has no profile set, using https_spiffe as default; please configure a \
         profile explicitly. This will be fatal in a future release."
    )]
    NoEndpointProfile,
    /// Readers of the bundle shall look again after a day or more.
    #[error(
        "Bundle endpoint refresh hint set to a high value. To cover the case of unscheduled trust bundle updates, \
         it's recommended to have a smaller value, e.g. 5m"
    )]
    LongRefreshHint,
    /// Readers of the bundle shall look again in less than a minute.
    #[error(
        "Bundle endpoint refresh hint set too low. SPIRE will not refresh more often than 1 minute"
    )]
    ShortRefreshHint,
    /// The server is trusted at first sight.
    #[error("insecure_bootstrap is set: the agent trusts whatever server answers first")]
    InsecureBootstrap,
    /// The kubelet is believed unseen.
    #[error(
        "the kubelet is not verified (skip_kubelet_verification, or kubelet_read_only_port): whoever answers on its \
         port, and in the clear whoever listens, decides which workload is which; set kubelet_ca_path instead"
    )]
    KubeletUnverified,
}
