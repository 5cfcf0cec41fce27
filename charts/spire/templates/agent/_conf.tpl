{{/* The agent's configuration. JSON is a form of its file that no value can break out of. */}}
{{- define "spire.agent.conf" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- $block := dict
  "data_dir" "/var/lib/spire"
  "log_level" $agent.logLevel
  "log_format" $agent.logFormat
  "server_address" (include "spire.server.address" .)
  "server_port" (int $agent.server.port)
  "socket_path" (printf "/tmp/spire-agent/public/%s" (base $agent.socketPath))
  "socket_alternate_names" $agent.socketAlternate.names
  "trust_bundle_path" (include "spire.agent.bundlePath" .)
  "trust_bundle_format" $agent.trustBundleFormat
  "trust_domain" (include "spire.trustDomain.agent" .)
-}}
{{- if $agent.sockets.admin.enabled }}{{- $_ := set $block "admin_socket_path" "/tmp/spire-agent/private/admin.sock" }}{{- end }}
{{- if $agent.sds.enabled }}
  {{- $_ := set $block "sds" (dict
    "default_svid_name" $agent.sds.defaultSVIDName
    "default_bundle_name" $agent.sds.defaultBundleName
    "default_all_bundles_name" $agent.sds.defaultAllBundlesName
    "disable_spiffe_cert_validation" $agent.sds.disableSPIFFECertValidation) }}
{{- end }}
{{- with $agent.experimental.syncInterval }}{{- $_ := set $block "experimental" (dict "sync_interval" .) }}{{- end }}
{{- $file := dict
  "agent" $block
  "plugins" (include "spire.agent.plugins" . | fromJson)
  "health_checks" (dict
    "listener_enabled" true
    "bind_address" (include "spire.agent.healthAddress" .)
    "bind_port" (int $agent.healthChecks.port)
    "live_path" "/live"
    "ready_path" "/ready")
}}
{{- if eq (include "spire.metrics" (list . "spire-agent")) "on" }}
  {{- $prometheus := $agent.telemetry.prometheus }}
  {{- $_ := set $file "telemetry" (dict "Prometheus" (dict "host" $prometheus.host "port" (int $prometheus.port))) }}
{{- end }}
{{- $file | toPrettyJson -}}
{{- end -}}

{{- define "spire.agent.bundlePath" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- if $agent.trustBundleHostPath -}}
/run/spire/host-bundle/{{ base $agent.trustBundleHostPath }}
{{- else -}}
/run/spire/bundle/{{ include "spire.agent.bundleKey" . }}
{{- end -}}
{{- end -}}

{{/* The key under which the server writes the bundle in the format that the agent reads. */}}
{{- define "spire.agent.bundleKey" -}}
{{- $format := (index .Values "spire-agent").trustBundleFormat -}}
{{- if and (eq $format "pem") (index .Values "spire-server").notifier.k8sBundle.enabled -}}bundle.crt{{- else -}}bundle.{{ $format }}{{- end -}}
{{- end -}}

{{- define "spire.agent.plugins" -}}
{{- $agent := index .Values "spire-agent" -}}
{{- $keys := dict "disk" (dict "plugin_data" (dict "directory" "/var/lib/spire")) -}}
{{- if or $agent.keyManager.memory.enabled (not $agent.keyManager.disk.enabled) }}
  {{- $keys = dict "memory" (dict "plugin_data" dict) }}
{{- end }}
{{- $attestors := dict }}
{{- with $agent.workloadAttestors.k8s }}
{{- if .enabled }}
  {{- $data := dict "disable_container_selectors" .disableContainerSelectors }}
  {{- if eq .verification.type "skip" }}
    {{- $_ := set $data "skip_kubelet_verification" true }}
  {{- else if eq .verification.type "hostCert" }}
    {{- $_ := set $data "kubelet_ca_path" "/run/spire/kubelet/kubelet.crt" }}
  {{- end }}
  {{- if has (include "spire.kubelet" $) (list "hostip" "hostname") }}
    {{- $_ := set $data "node_name_env" "MY_NODE_NAME" }}
  {{- else if eq (include "spire.kubelet" $) "custom" }}
    {{- $_ := set $data "node_name_env" "KUBELET_ADDR" }}
  {{- end }}
  {{- $_ := set $attestors "k8s" (dict "plugin_data" $data) }}
{{- end }}
{{- end }}
{{- if $agent.workloadAttestors.unix.enabled }}{{- $_ := set $attestors "unix" (dict "plugin_data" dict) }}{{- end }}
{{- $cluster := include "spire.clusterName.agent" . }}
{{- dict
  "NodeAttestor" (list (dict "k8s_psat" (dict "plugin_data" (dict "cluster" $cluster))))
  "KeyManager" (list $keys)
  "WorkloadAttestor" (list $attestors) | toJson -}}
{{- end -}}
