//! Keeps the webhook trusted: a certificate for the service that the webhook configuration names, renewed
//! by itself, and its authority in every `caBundle` of the configuration.
//!
//! A new authority signs only after the configuration has it, so there is no moment at which the API server
//! trusts none. A configuration that is missing or may not be changed is told once and looked for again;
//! nothing else waits for it. One task of its own.

use super::{
    bundle,
    certificate::{CertificateError, Shown, WebhookAuthority},
};
use crate::{
    k8s::{KubeClient, KubeError},
    runtime::{Backoff, Clock, Shutdown, backoff::jittered},
    spiffe::TrustDomain,
};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
    },
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};
use tokio::time::sleep;

/// Keeps one webhook trusted.
pub(in crate::controller) struct Keeper {
    kube: KubeClient,
    configuration: String,
    trust_domain: TrustDomain,
    clock: Clock,
    shown: Shown,
    authority: Option<WebhookAuthority>,
    served: Option<Served>,
}

/// What is shown now.
struct Served {
    dns_names: Vec<String>,
    renew_at: SystemTime,
}

/// Why the webhook is not trusted.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Kube(#[from] KubeError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("none of its webhooks names a service")]
    NoService,
}

/// Whoever overwrites the `caBundle`, as an upgrade does, is corrected in this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An installation makes the configuration a moment after the controller's pod, and objects are refused until
/// there is a certificate for it.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(1);

impl Keeper {
    /// A keeper that has shown nothing yet.
    pub(in crate::controller) fn new(
        kube: KubeClient,
        configuration: String,
        trust_domain: TrustDomain,
        clock: Clock,
    ) -> (Self, Shown) {
        let shown = Shown::default();
        let keeper = Self {
            kube,
            configuration,
            trust_domain,
            clock,
            shown: shown.clone(),
            authority: None,
            served: None,
        };
        (keeper, shown)
    }

    /// Keeps it until `shutdown`.
    pub(in crate::controller) async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        let mut told = None;
        loop {
            let kept = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                kept = self.keep() => kept,
            };
            let wait = match kept {
                Ok(()) => {
                    if told.take().is_some() {
                        tracing::info!(
                            configuration = self.configuration,
                            "webhook is trusted again"
                        );
                    }
                    backoff.reset();
                    jittered(LOOK_EVERY, 0.2)
                }
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(
                            configuration = self.configuration,
                            error,
                            "the webhook is not trusted: objects are checked by their status only"
                        );
                        told = Some(error);
                    }
                    backoff.next_delay()
                }
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn keep(&mut self) -> Result<(), KeepError> {
        let configuration = self.read().await?;
        let webhooks = configuration.webhooks.unwrap_or_default();
        let dns_names = dns_names(&webhooks);
        if dns_names.is_empty() {
            return Err(KeepError::NoService);
        }
        let now = self.clock.now();
        let next = match &self.authority {
            Some(authority) if !authority.is_old(now) => None,
            _ => Some(WebhookAuthority::new(&self.trust_domain, now)?),
        };
        let own: Vec<_> =
            self.authority.iter().chain(&next).map(WebhookAuthority::certificate).collect();
        let patches: Vec<Value> = webhooks
            .iter()
            .filter_map(|webhook| {
                let current = webhook.client_config.ca_bundle.as_ref();
                let bundle = bundle::amended(current.map_or(&[], |b| &b.0), &own, now)?;
                Some(json!({
                    "name": webhook.name,
                    "clientConfig": {"caBundle": ByteString(bundle)},
                }))
            })
            .collect();
        if !patches.is_empty() {
            self.patch(patches).await?;
        }
        if next.is_some() {
            (self.authority, self.served) = (next, None);
        }
        self.serve(dns_names, now)?;
        Ok(())
    }

    /// Shows a certificate for these names, the one that is shown unless it is old.
    fn serve(&mut self, dns_names: Vec<String>, now: SystemTime) -> Result<(), CertificateError> {
        let is_good = self
            .served
            .as_ref()
            .is_some_and(|served| served.dns_names == dns_names && now < served.renew_at);
        let Some(authority) = self.authority.as_ref().filter(|_| !is_good) else { return Ok(()) };
        let (key, renew_at) = authority.issue(&dns_names, now)?;
        self.shown.show(key);
        tracing::info!(?dns_names, "webhook certificate issued");
        self.served = Some(Served { dns_names, renew_at });
        Ok(())
    }

    async fn read(&self) -> Result<ValidatingWebhookConfiguration, KubeError> {
        let name = self.configuration.clone();
        self.kube.call(async move |client| Api::all(client).get(&name).await).await
    }

    async fn patch(&self, webhooks: Vec<Value>) -> Result<(), KubeError> {
        let (name, patch) = (self.configuration.clone(), json!({"webhooks": webhooks}));
        self.kube
            .call(async move |client| {
                let api = Api::<ValidatingWebhookConfiguration>::all(client);
                // Strategic: the webhooks are merged by their names, and nothing else of them changes.
                api.patch(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await
            })
            .await?;
        Ok(())
    }
}

/// The names by which the API server calls, sorted.
fn dns_names(webhooks: &[ValidatingWebhook]) -> Vec<String> {
    let services = webhooks.iter().filter_map(|webhook| webhook.client_config.service.as_ref());
    let names: BTreeSet<String> = services
        .map(|ServiceReference { name, namespace, .. }| format!("{name}.{namespace}.svc"))
        .collect();
    names.into_iter().collect()
}
