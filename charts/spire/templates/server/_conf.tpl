{{/* The server's configuration. JSON is a form of its file that no value can break out of. */}}
{{- define "spire.server.conf" -}}
{{- $server := index .Values "spire-server" -}}
{{- $block := dict
  "bind_address" "0.0.0.0"
  "bind_port" 8081
  "socket_path" "/tmp/spire-server/private/api.sock"
  "trust_domain" (include "spire.trustDomain.server" .)
  "data_dir" "/run/spire/data"
  "log_level" $server.logLevel
  "log_format" $server.logFormat
  "ca_key_type" $server.caKeyType
  "ca_ttl" $server.caTTL
  "default_x509_svid_ttl" $server.defaultX509SvidTTL
  "ratelimit" (dict "attestation" $server.rateLimit.attestation "signing" $server.rateLimit.signing)
-}}
{{- with $server.agentTTL }}{{- $_ := set $block "agent_ttl" . }}{{- end }}
{{- $_ := set $block "ca_subject" (include "spire.server.subject" . | fromJson) }}
{{- if $server.federation.enabled }}
  {{- $endpoint := $server.federation.bundleEndpoint }}
  {{- $_ := set $block "federation" (dict "bundle_endpoint" (dict
    "address" $endpoint.address
    "port" (int $endpoint.port)
    "refresh_hint" $endpoint.refreshHint
    "profile" (list (dict "https_spiffe" dict)))) }}
{{- end }}
{{- $file := dict
  "server" $block
  "plugins" (include "spire.server.plugins" . | fromJson)
  "health_checks" (dict "listener_enabled" true "bind_address" "0.0.0.0" "bind_port" 8080 "live_path" "/live" "ready_path" "/ready")
}}
{{- if eq (include "spire.metrics" (list . "spire-server")) "on" }}
  {{- $_ := set $file "telemetry" (dict "Prometheus" (dict "host" "0.0.0.0" "port" (int $server.telemetry.prometheus.port))) }}
{{- end }}
{{- $file | toPrettyJson -}}
{{- end -}}

{{- define "spire.server.subject" -}}
{{- $own := (index .Values "spire-server").caSubject -}}
{{- $all := .Values.global.spire.caSubject -}}
{{- $subject := dict -}}
{{- with $all.country | default $own.country }}{{- $_ := set $subject "country" (list .) }}{{- end }}
{{- with $all.organization | default $own.organization }}{{- $_ := set $subject "organization" (list .) }}{{- end }}
{{- with $all.commonName | default $own.commonName }}{{- $_ := set $subject "common_name" . }}{{- end }}
{{- if not $subject }}{{- $_ := set $subject "organization" (list (include "spire.trustDomain.server" .)) }}{{- end }}
{{- $subject | toJson -}}
{{- end -}}

{{/* Each plugin as {"name": {"plugin_data": …}}, which is how SPIRE's file nests them in JSON. */}}
{{- define "spire.server.plugins" -}}
{{- $server := index .Values "spire-server" -}}
{{- $plugins := dict
  "DataStore" (dict "sql" (dict "plugin_data" (dict "database_type" $server.dataStore.sql.databaseType "connection_string" $server.dataStore.sql.file)))
}}
{{- if $server.keyManager.kubernetesSecret.enabled }}
  {{- $_ := set $plugins "KeyManager" (dict "k8s_secret" (dict "plugin_data" (dict
    "namespace" (include "spire.server.namespace" .) "secret_name" (include "spire.keys.name" .)))) }}
{{- else if or $server.keyManager.memory.enabled (not $server.keyManager.disk.enabled) }}
  {{- $_ := set $plugins "KeyManager" (dict "memory" (dict "plugin_data" dict)) }}
{{- else }}
  {{- $_ := set $plugins "KeyManager" (dict "disk" (dict "plugin_data" (dict "keys_path" "/run/spire/data/keys.json"))) }}
{{- end }}
{{- $attestors := dict }}
{{- with $server.nodeAttestor.k8sPSAT }}
{{- if .enabled }}
  {{- $allowed := .serviceAccountAllowList | default (list (printf "%s:%s" (include "spire.agent.namespace" $) (include "spire.agent.account" $))) }}
  {{- $cluster := dict
    "service_account_allow_list" $allowed
    "audience" .audience
    "allowed_node_label_keys" .allowedNodeLabelKeys
    "allowed_pod_label_keys" .allowedPodLabelKeys }}
  {{- $clusters := dict (include "spire.clusterName.server" $) $cluster }}
  {{- $_ := set $attestors "k8s_psat" (dict "plugin_data" (dict "clusters" (list $clusters))) }}
{{- end }}
{{- end }}
{{- if $server.nodeAttestor.joinToken.enabled }}
  {{- $_ := set $attestors "join_token" (dict "plugin_data" dict) }}
{{- end }}
{{- $_ := set $plugins "NodeAttestor" $attestors }}
{{- with $server.bundlePublisher.k8sConfigMap }}
{{- if .enabled }}
  {{- $map := dict
    "format" .format
    "namespace" (include "spire.bundle.namespace" $)
    "configmap_name" (include "spire.bundle.name" $)
    "configmap_key" (printf "bundle.%s" .format) }}
  {{- $clusters := dict (include "spire.clusterName.server" $) $map }}
  {{- $_ := set $plugins "BundlePublisher" (dict "k8s_configmap" (dict "plugin_data" (dict "clusters" $clusters))) }}
{{- end }}
{{- end }}
{{- if $server.notifier.k8sBundle.enabled }}
  {{- $_ := set $plugins "Notifier" (dict "k8sbundle" (dict "plugin_data" (dict
    "namespace" (include "spire.notifier.namespace" .)
    "config_map" (include "spire.bundle.name" .)
    "config_map_key" "bundle.crt"))) }}
{{- end }}
{{- $lists := dict }}
{{- range $kind, $named := $plugins }}
  {{- $_ := set $lists $kind (list $named) }}
{{- end }}
{{- $lists | toJson -}}
{{- end -}}
