//! A ClusterSPIFFEID made ready: templates parsed, selectors and values checked, once for each edit.
//!
//! The webhook refuses what does not become a rule; the plan keeps the last rule that it became.

use super::{
    crd::{ClusterSpiffeId, ClusterSpiffeIdSpec, GoDuration},
    template::{CompileError, Subject, Template},
    wanted::Precedence,
    world::{LabelQuery, Labels, QueryError},
};
use crate::spiffe::{
    TrustDomain,
    entry::{self, Hint},
    id,
};
use std::{sync::Arc, time::Duration};

/// What a ClusterSPIFFEID gives to which pods.
#[derive(Debug)]
pub struct Rule {
    /// The name of the object.
    pub name: Arc<str>,
    /// Which object wins where two give the same entry.
    pub precedence: Precedence,
    /// Whether the rule waits for others to give nothing.
    pub standing: Standing,
    /// Whether the pod's service names are added.
    pub service_names: ServiceNames,
    pub(super) spiffe_id: Template,
    pub(super) dns_names: Vec<Template>,
    pub(super) selectors: Vec<Template>,
    pub(super) namespaces: LabelQuery,
    pub(super) pods: LabelQuery,
    pub(super) given: Given,
}

/// What does not depend on the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) x509_svid_ttl_secs: u32,
    pub(super) jwt_svid_ttl_secs: u32,
    pub(super) federates_with: Vec<TrustDomain>,
    pub(super) admin: bool,
    pub(super) downstream: bool,
    pub(super) hint: Hint,
}

/// Whether a rule waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It gives its identity to every pod that it selects.
    First,
    /// It gives its identity to pods that got none from a first one.
    Fallback,
}

/// Whether the names of a pod's services become DNS names of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceNames {
    /// Yes.
    Added,
    /// No.
    LeftOut,
}

/// Why a ClusterSPIFFEID is no rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// No template for the identity.
    #[error(
        "spiffeIDTemplate is empty, expected a template such as spiffe://{{{{ .TrustDomain }}}}/ns/{{{{ .PodMeta.Namespace }}}}/sa/{{{{ .PodSpec.ServiceAccountName }}}}"
    )]
    NoTemplate,
    /// A template is none.
    #[error("{field} {template:?}: {source}")]
    Template {
        /// Which field holds it.
        field: &'static str,
        /// The template.
        template: String,
        /// What is wrong with it.
        source: CompileError,
    },
    /// A label selector is none.
    #[error("{field}: {source}")]
    Selector {
        /// Which field holds it.
        field: &'static str,
        /// What is wrong with it.
        source: QueryError,
    },
    /// A trust domain is none.
    #[error("federatesWith {name:?}: {source}")]
    FederatesWith {
        /// Its name.
        name: String,
        /// The rule that it breaks.
        source: id::Error,
    },
    /// A lifetime that a certificate cannot have.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// The hint is none.
    #[error("hint: {0}")]
    Hint(entry::Error),
}

/// A lifetime that a certificate cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{field} is {duration:?}, expected from 1s to {MAX_LIFETIME_SECS}s, or nothing for the server's default"
)]
pub struct LifetimeError {
    /// Which field holds it.
    field: &'static str,
    /// The lifetime.
    duration: Duration,
}

/// SPIRE's API counts seconds in 32 bits with a sign.
const MAX_LIFETIME_SECS: u32 = i32::MAX.unsigned_abs();

impl Rule {
    /// Makes a ClusterSPIFFEID ready.
    ///
    /// # Errors
    /// What the author has to change.
    pub fn compile(object: &ClusterSpiffeId) -> Result<Self, RuleError> {
        let spec = &object.spec;
        if spec.spiffe_id_template.is_empty() {
            return Err(RuleError::NoTemplate);
        }
        let standing = if spec.fallback { Standing::Fallback } else { Standing::First };
        let added = spec.auto_populate_dns_names;
        Ok(Self {
            name: object.metadata.name.as_deref().unwrap_or_default().into(),
            precedence: Precedence::of(&object.metadata),
            standing,
            service_names: if added { ServiceNames::Added } else { ServiceNames::LeftOut },
            spiffe_id: template("spiffeIDTemplate", &spec.spiffe_id_template)?,
            dns_names: templates("dnsNameTemplates", &spec.dns_name_templates)?,
            selectors: templates("workloadSelectorTemplates", &spec.workload_selector_templates)?,
            namespaces: LabelQuery::compile(spec.namespace_selector.as_ref())
                .map_err(|source| RuleError::Selector { field: "namespaceSelector", source })?,
            pods: LabelQuery::compile(spec.pod_selector.as_ref())
                .map_err(|source| RuleError::Selector { field: "podSelector", source })?,
            given: Given::read(spec)?,
        })
    }

    /// Whether pods of a namespace with these labels may be selected.
    #[must_use]
    pub fn selects_namespace(&self, labels: &Labels) -> bool {
        self.namespaces.matches(labels)
    }

    /// Whether a pod with these labels is selected, in a namespace that is.
    #[must_use]
    pub fn selects_pod(&self, labels: &Labels) -> bool {
        self.pods.matches(labels)
    }

    /// Whether every pod of the cluster is selected.
    #[must_use]
    pub const fn selects_everything(&self) -> bool {
        self.namespaces.is_everything() && self.pods.is_everything()
    }
}

impl Given {
    fn read(spec: &ClusterSpiffeIdSpec) -> Result<Self, RuleError> {
        let refuse = |(name, source)| RuleError::FederatesWith { name, source };
        Ok(Self {
            x509_svid_ttl_secs: lifetime("ttl", spec.ttl)?,
            jwt_svid_ttl_secs: lifetime("jwtTtl", spec.jwt_ttl)?,
            federates_with: trust_domains(&spec.federates_with).map_err(refuse)?,
            admin: spec.admin,
            downstream: spec.downstream,
            hint: Hint::parse(&spec.hint).map_err(RuleError::Hint)?,
        })
    }
}

/// The lifetime in whole seconds; 0 means the server's default.
///
/// # Errors
/// When a certificate cannot have it.
pub(super) fn lifetime(
    field: &'static str,
    duration: Option<GoDuration>,
) -> Result<u32, LifetimeError> {
    let Some(GoDuration(duration)) = duration.filter(|duration| !duration.0.is_zero()) else {
        return Ok(0);
    };
    match u32::try_from(duration.as_secs()) {
        Ok(secs @ 1..=MAX_LIFETIME_SECS) => Ok(secs),
        _ => Err(LifetimeError { field, duration }),
    }
}

/// Trust domains in one order, each once.
///
/// # Errors
/// The name that is none, and why.
pub(super) fn trust_domains(names: &[String]) -> Result<Vec<TrustDomain>, (String, id::Error)> {
    let parse =
        |name: &String| TrustDomain::parse_name_or_id(name).map_err(|error| (name.clone(), error));
    let mut domains = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    domains.sort_unstable();
    domains.dedup();
    Ok(domains)
}

fn template(field: &'static str, source: &str) -> Result<Template, RuleError> {
    Template::compile(source, Subject::Pod).map_err(|error| RuleError::Template {
        field,
        template: source.to_owned(),
        source: error,
    })
}

fn templates(field: &'static str, sources: &[String]) -> Result<Vec<Template>, RuleError> {
    sources.iter().map(|source| template(field, source)).collect()
}
