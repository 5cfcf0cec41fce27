//! Asks the API server, one collection after the other, in the task of whoever calls.

use super::{
    objects::{ConfigMap, EndpointSlice, List, Metadata, Webhook, WebhookConfiguration, Workload},
    seen::{Answer, Called, Istio, Programs, Seen, Unread},
    settings::{self, Injector, Mesh, Settings},
};
use crate::k8s::{KubeClient, KubeError, Place};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

const CORE: &str = "/api/v1";
const APPS: &str = "/apis/apps/v1";
const STORAGE: &str = "/apis/storage.k8s.io/v1";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1";
const SLICES: &str = "/apis/discovery.k8s.io/v1";
const SPIRE: &str = "/apis/spire.spiffe.io/v1alpha1";

/// What the API server says of the cluster, with Istio in the namespace `istio`. What the caller may not
/// read is left open. Dropping the future gives up.
///
/// # Errors
/// When there is no API server to ask, or it does not know the caller.
pub async fn look(client: &KubeClient, istio: &str) -> Result<Seen, KubeError> {
    let place = Place::all(APPS, "daemonsets");
    // The first question shows whether there is anybody to ask.
    let daemon_sets: Answer<Vec<Workload>> = match client.document(&place).await {
        Ok(list) => Ok(list.map(|list: List<_>| list.items).unwrap_or_default()),
        Err(error) if error.is_forbidden() => Err(Unread::refused(&place, &error)),
        Err(error) => return Err(error),
    };
    let agents = daemon_sets.map(|sets| having(sets, "spire-agent"));
    let servers = servers(client).await;
    Ok(Seen {
        agent_settings: of_files(client, &agents, "agent").await,
        server_settings: of_files(client, &servers, "server").await,
        programs: Programs { agents, servers },
        istio: look_at_istio(client, istio).await,
        nodes: list(client, Place::all(CORE, "nodes")).await,
        csi_nodes: list(client, Place::all(STORAGE, "csinodes")).await,
        csi_drivers: list(client, Place::all(STORAGE, "csidrivers")).await,
        webhooks: webhooks(client).await,
        identities: list(client, Place::all(SPIRE, "clusterspiffeids")).await,
        namespaces: list(client, Place::all(CORE, "namespaces")).await,
        pods: list(client, Place::all(CORE, "pods")).await,
    })
}

async fn list<T: DeserializeOwned>(client: &KubeClient, place: Place) -> Answer<Vec<T>> {
    match client.document::<List<T>>(&place).await {
        Ok(list) => Ok(list.map(|list| list.items).unwrap_or_default()),
        Err(error) => Err(Unread::refused(&place, &error)),
    }
}

/// Those with a container of this name: quick start, charts and guides agree on it, and on no label.
fn having(workloads: Vec<Workload>, container: &str) -> Vec<Workload> {
    let has = |workload: &Workload| {
        workload.spec.template.spec.containers.iter().any(|of| of.name == container)
    };
    workloads.into_iter().filter(has).collect()
}

async fn servers(client: &KubeClient) -> Answer<Vec<Workload>> {
    let mut servers = Vec::new();
    for kind in ["statefulsets", "deployments"] {
        servers.extend(having(list(client, Place::all(APPS, kind)).await?, "spire-server"));
    }
    Ok(servers)
}

/// The settings in the ConfigMaps that these programs have mounted.
async fn of_files(
    client: &KubeClient,
    programs: &Answer<Vec<Workload>>,
    block: &'static str,
) -> Answer<Vec<Settings>> {
    let mut found = Vec::new();
    // Where the programs are not known, that is told already.
    for program in programs.as_deref().unwrap_or_default() {
        let volumes = program.spec.template.spec.volumes.iter();
        for map in volumes.filter_map(|volume| volume.config_map.as_ref()) {
            let place = Place::all(CORE, "configmaps");
            let place = place.within(&program.metadata.namespace).named(&map.name);
            let answer = client.document::<ConfigMap>(&place).await;
            let map = answer.map_err(|error| Unread::refused(&place, &error))?;
            let data = map.unwrap_or_default().data;
            if let Some(text) = data.get(&format!("{block}.conf")) {
                let read = settings::read(block, text);
                found.push(read.map_err(|error| Unread::senseless(&place, &error))?);
            }
        }
    }
    Ok(found)
}

async fn look_at_istio(client: &KubeClient, namespace: &str) -> Istio {
    let within = |api, kind| Place::all(api, kind).within(namespace);
    let place = within(CORE, "configmaps");
    let maps = list::<ConfigMap>(client, place.clone()).await;
    let deployments = list::<Workload>(client, within(APPS, "deployments")).await;
    let pilots = deployments.map(|of| having(of, "discovery"));
    let namespace = namespace.to_owned();
    match maps {
        Ok(maps) => Istio {
            meshes: read_maps(&maps, &place, "istio", "mesh", Mesh::read),
            injectors: read_maps(&maps, &place, "istio-sidecar-injector", "config", Injector::read),
            pilots,
            namespace,
        },
        // One answer, and told once.
        Err(unread) => Istio { meshes: Err(unread), injectors: Ok(Vec::new()), pilots, namespace },
    }
}

/// The key of the ConfigMap of this name, and of those of Istio's revisions, which follow the name.
fn read_maps<T>(
    maps: &[ConfigMap],
    place: &Place,
    name: &str,
    key: &str,
    read: impl Fn(&str) -> Result<T, serde_saphyr::Error>,
) -> Answer<Vec<Called<T>>> {
    let is_of_name = |own: &str| {
        own == name || own.strip_prefix(name).is_some_and(|revision| revision.starts_with('-'))
    };
    let mut found = Vec::new();
    for ConfigMap { metadata, data } in maps.iter().filter(|map| is_of_name(&map.metadata.name)) {
        if let Some(text) = data.get(key) {
            let place = place.clone().named(&metadata.name);
            let it = read(text).map_err(|error| Unread::senseless(&place, &error))?;
            found.push(Called { name: metadata.name.clone(), it });
        }
    }
    Ok(found)
}

/// The webhooks for the custom resources, each with the endpoints of its service that are ready.
async fn webhooks(client: &KubeClient) -> Answer<Vec<(Called<Webhook>, usize)>> {
    let place = Place::all(WEBHOOKS, "validatingwebhookconfigurations");
    let mut found = Vec::new();
    // Webhooks of one configuration share their service.
    let mut counted = BTreeMap::new();
    for configuration in list::<WebhookConfiguration>(client, place).await? {
        for webhook in configuration.webhooks {
            if !webhook
                .rules
                .iter()
                .any(|rule| rule.api_groups.iter().any(|of| of == "spire.spiffe.io"))
            {
                continue;
            }
            let ready = match &webhook.client_config.service {
                Some(service) => {
                    let key = (service.namespace.clone(), service.name.clone());
                    match counted.get(&key) {
                        Some(ready) => *ready,
                        None => *counted.entry(key).or_insert(endpoints(client, service).await?),
                    }
                }
                // By address: nobody but the API server knows whether it is reached.
                None => 1,
            };
            let name = configuration.metadata.name.clone();
            found.push((Called { name, it: webhook }, ready));
        }
    }
    Ok(found)
}

async fn endpoints(client: &KubeClient, service: &Metadata) -> Answer<usize> {
    let place = Place::all(SLICES, "endpointslices").within(&service.namespace);
    let place = place.labelled("kubernetes.io/service-name", &service.name);
    let slices = list::<EndpointSlice>(client, place).await?;
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    Ok(endpoints.filter(|of| of.conditions.ready.unwrap_or(true)).count())
}
