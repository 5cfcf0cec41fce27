{{/*
Every name and place is computed here and nowhere else, so that those who use a name and those who bear it
cannot disagree. A name is always release-component: were a release called "server" its own server's name, two
components of a release "agent-server" would have the same.
*/}}

{{/* (list context component) → release-component, of 52 characters at most: a StatefulSet adds up to 11 to its
name for a label, which may have 63. What is cut off is replaced by a digest, so that long names stay apart. */}}
{{- define "spire.named" -}}
{{- $release := (index . 0).Release.Name -}}
{{- $suffix := index . 1 -}}
{{- $name := printf "%s-%s" $release $suffix -}}
{{- if gt (len $name) 52 -}}
{{- $room := int (sub 52 (add (len $suffix) 8)) -}}
{{- $name = printf "%s-%s-%s" (trunc $room $release | trimSuffix "-") (sha256sum $release | trunc 6) $suffix -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "spire.server.name" -}}
{{- with index .Values "spire-server" -}}
{{- .fullnameOverride | default (include "spire.named" (list $ .nameOverride)) -}}
{{- end -}}
{{- end -}}

{{- define "spire.agent.name" -}}
{{- with index .Values "spire-agent" -}}
{{- .fullnameOverride | default (include "spire.named" (list $ .nameOverride)) -}}
{{- end -}}
{{- end -}}

{{- define "spire.csi.name" -}}
{{- with index .Values "spiffe-csi-driver" -}}
{{- .fullnameOverride | default (include "spire.named" (list $ .nameOverride)) -}}
{{- end -}}
{{- end -}}

{{- define "spire.controller.name" -}}
{{- include "spire.named" (list . "controller-manager") -}}
{{- end -}}

{{- define "spire.controller.webhook" -}}
{{- printf "%s-webhook" (include "spire.controller.name" .) -}}
{{- end -}}

{{/* Objects of the whole cluster: the namespace keeps releases apart. (list context name) */}}
{{- define "spire.clusterwide" -}}
{{- printf "%s-%s" (index . 0).Release.Namespace (index . 1) -}}
{{- end -}}

{{- define "spire.className" -}}
{{- $class := (index .Values "spire-server").controllerManager.className | default (printf "%s-%s" .Release.Namespace .Release.Name) -}}
{{- /* It is a label, too. */ -}}
{{- if gt (len $class) 63 -}}{{- $class = printf "%s-%s" (trunc 56 $class | trimSuffix "-") (sha256sum $class | trunc 6) -}}{{- end -}}
{{- $class -}}
{{- end -}}

{{- define "spire.server.namespace" -}}
{{- $layout := include "spire.layout" . -}}
{{- (index .Values "spire-server").namespaceOverride | default (ternary .Values.global.spire.namespaces.server.name .Release.Namespace (eq $layout "split")) -}}
{{- end -}}

{{- define "spire.agent.namespace" -}}
{{- $layout := include "spire.layout" . -}}
{{- (index .Values "spire-agent").namespaceOverride | default (ternary .Values.global.spire.namespaces.system.name .Release.Namespace (eq $layout "split")) -}}
{{- end -}}

{{- define "spire.csi.namespace" -}}
{{- $layout := include "spire.layout" . -}}
{{- (index .Values "spiffe-csi-driver").namespaceOverride | default (ternary .Values.global.spire.namespaces.system.name .Release.Namespace (eq $layout "split")) -}}
{{- end -}}

{{/* Whether server and agents have namespaces of their own. */}}
{{- define "spire.layout" -}}
{{- with .Values.global.spire.recommendations -}}
{{- if and .enabled .namespaceLayout -}}split{{- else -}}one{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spire.server.account" -}}
{{- with (index .Values "spire-server").serviceAccount -}}
{{- .name | default (ternary (include "spire.server.name" $) "default" .create) -}}
{{- end -}}
{{- end -}}

{{- define "spire.agent.account" -}}
{{- with (index .Values "spire-agent").serviceAccount -}}
{{- .name | default (ternary (include "spire.agent.name" $) "default" .create) -}}
{{- end -}}
{{- end -}}

{{- define "spire.csi.account" -}}
{{- with (index .Values "spiffe-csi-driver").serviceAccount -}}
{{- .name | default (ternary (include "spire.csi.name" $) "default" .create) -}}
{{- end -}}
{{- end -}}

{{/* Where agents find the server: the very name and namespace that its Service bears. */}}
{{- define "spire.server.address" -}}
{{- with (index .Values "spire-agent").server -}}
{{- if .address -}}
{{- .address -}}
{{- else -}}
{{- $name := include "spire.server.name" $ -}}
{{- if .nameOverride -}}{{- $name = include "spire.named" (list $ .nameOverride) -}}{{- end -}}
{{- printf "%s.%s" $name (.namespaceOverride | default (include "spire.server.namespace" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap with the bundle: written in the agents' namespace, unless told otherwise, and read there. */}}
{{- define "spire.bundle.name" -}}
{{- (index .Values "spire-server").bundleConfigMap | default .Values.global.spire.bundleConfigMap -}}
{{- end -}}

{{- define "spire.bundle.namespace" -}}
{{- (index .Values "spire-server").bundlePublisher.k8sConfigMap.namespace | default (include "spire.agent.namespace" .) -}}
{{- end -}}

{{- define "spire.notifier.namespace" -}}
{{- (index .Values "spire-server").notifier.k8sBundle.namespace | default (include "spire.bundle.namespace" .) -}}
{{- end -}}

{{- define "spire.keys.name" -}}
{{- (index .Values "spire-server").keyManager.kubernetesSecret.name | default (printf "%s-keys" (include "spire.server.name" .)) -}}
{{- end -}}

{{- define "spire.agent.socketDirectory" -}}
{{- dir (index .Values "spire-agent").socketPath -}}
{{- end -}}

{{- define "spire.csi.socketDirectory" -}}
{{- dir ((index .Values "spiffe-csi-driver").agentSocketPath | default (index .Values "spire-agent").socketPath) -}}
{{- end -}}

{{- define "spire.agent.stateDirectory" -}}
{{- (index .Values "spire-agent").persistence.hostPath | default (printf "/run/spire/k8s/%s-%s" (include "spire.agent.namespace" .) (include "spire.agent.name" .)) -}}
{{- end -}}
