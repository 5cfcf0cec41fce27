{{/* What several templates derive from the values. A switch is "on" or "off": templates have no other types. */}}

{{- define "spire.trustDomain.server" -}}
{{- (index .Values "spire-server").trustDomain | default .Values.global.spire.trustDomain -}}
{{- end -}}

{{- define "spire.trustDomain.agent" -}}
{{- (index .Values "spire-agent").trustDomain | default .Values.global.spire.trustDomain -}}
{{- end -}}

{{- define "spire.clusterName.server" -}}
{{- (index .Values "spire-server").clusterName | default .Values.global.spire.clusterName -}}
{{- end -}}

{{- define "spire.clusterName.agent" -}}
{{- (index .Values "spire-agent").clusterName | default .Values.global.spire.clusterName -}}
{{- end -}}

{{- define "spire.strict" -}}
{{- $recommended := .Values.global.spire.recommendations -}}
{{- ternary "on" "off" (or .Values.global.spire.strictMode (and $recommended.enabled $recommended.strictMode)) -}}
{{- end -}}

{{/* (list context component): whether that component shows metrics, and whether a PodMonitor is wanted. */}}
{{- define "spire.metrics" -}}
{{- $root := index . 0 -}}
{{- $own := (index $root.Values (index . 1)).telemetry.prometheus.enabled -}}
{{- $recommended := $root.Values.global.spire.recommendations -}}
{{- ternary "on" "off" (or $own $root.Values.global.telemetry.prometheus.enabled (and $recommended.enabled $recommended.prometheus)) -}}
{{- end -}}

{{- define "spire.podMonitor" -}}
{{- $root := index . 0 -}}
{{- $own := (index $root.Values (index . 1)).telemetry.prometheus.podMonitor.enabled -}}
{{- $wanted := or $own $root.Values.global.telemetry.prometheus.podMonitor.enabled -}}
{{- ternary "on" "off" (and $wanted (eq (include "spire.metrics" .) "on")) -}}
{{- end -}}

{{- define "spire.controller" -}}
{{- with index .Values "spire-server" -}}
{{- ternary "on" "off" (and .enabled .controllerManager.enabled) -}}
{{- end -}}
{{- end -}}

{{- define "spire.webhook" -}}
{{- $wanted := (index .Values "spire-server").controllerManager.validatingWebhookConfiguration.enabled -}}
{{- ternary "on" "off" (and $wanted (eq (include "spire.controller" .) "on")) -}}
{{- end -}}

{{- define "spire.leaderElection" -}}
{{- with index .Values "spire-server" -}}
{{- $wanted := .controllerManager.leaderElection.enabled | toString -}}
{{- ternary "on" "off" (or (eq $wanted "true") (and (eq $wanted "auto") (gt (int .replicaCount) 1))) -}}
{{- end -}}
{{- end -}}

{{/* How the agent reaches its kubelet: localhost, hostip, hostname or custom. */}}
{{- define "spire.kubelet" -}}
{{- $mode := (index .Values "spire-agent").kubeletAddress.mode -}}
{{- ternary "localhost" $mode (eq $mode "auto") -}}
{{- end -}}

{{- define "spire.agent.hostNetwork" -}}
{{- $wanted := (index .Values "spire-agent").hostNetwork | toString -}}
{{- $local := eq (include "spire.kubelet" .) "localhost" -}}
{{- ternary "on" "off" (or (eq $wanted "true") (and (eq $wanted "auto") $local)) -}}
{{- end -}}

{{/* On the host's network, what only the kubelet asks for is on the loopback address. */}}
{{- define "spire.agent.healthAddress" -}}
{{- ternary "127.0.0.1" "0.0.0.0" (eq (include "spire.agent.hostNetwork" .) "on") -}}
{{- end -}}

{{/* The resource that the agent may get of kubelets. */}}
{{- define "spire.kubeletResource" -}}
{{- if eq (index .Values "spire-agent").kubeletAuthorization "nodesProxy" -}}nodes/proxy{{- else -}}nodes/pods{{- end -}}
{{- end -}}

{{- define "spire.priorityQuota" -}}
{{- $wanted := .Values.priorityQuota.enabled | toString -}}
{{- ternary "on" "off" (or (eq $wanted "true") (and (eq $wanted "auto") (contains "-gke." .Capabilities.KubeVersion.Version))) -}}
{{- end -}}

{{/* The driver's pages show metrics in any case; upstream's has none, and so no switch of its own. */}}
{{- define "spire.csi.metrics" -}}
{{- $recommended := .Values.global.spire.recommendations -}}
{{- ternary "on" "off" (or .Values.global.telemetry.prometheus.enabled (and $recommended.enabled $recommended.prometheus)) -}}
{{- end -}}
