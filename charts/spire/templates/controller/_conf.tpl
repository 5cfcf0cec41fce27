{{/* The controller's configuration, in spire-controller-manager's form. */}}
{{- define "spire.controller.conf" -}}
{{- $server := index .Values "spire-server" -}}
{{- $controller := $server.controllerManager -}}
{{- $file := dict
  "apiVersion" "spire.spiffe.io/v1alpha1"
  "kind" "ControllerManagerConfig"
  "clusterName" (include "spire.clusterName.server" .)
  "trustDomain" (include "spire.trustDomain.server" .)
  "className" (include "spire.className" .)
  "watchClassless" $controller.watchClassless
  "filterByClassName" $controller.filterByClassName
  "ignoreNamespaces" $controller.ignoreNamespaces
  "parentIDTemplate" $controller.parentIDTemplate
  "reconcile" $controller.reconcile
  "spireServerSocketPath" "/tmp/spire-server/private/api.sock"
  "logLevel" $controller.logLevel
  "logEncoding" $controller.logEncoding
  "health" (dict "healthProbeBindAddress" "0.0.0.0:8083")
-}}
{{- if kindIs "string" $controller.gcInterval }}
  {{- with $controller.gcInterval }}{{- $_ := set $file "gcInterval" . }}{{- end }}
{{- else }}
  {{- /* Helm reads every number as a float, and would write nanoseconds as 1e+10. */}}
  {{- $_ := set $file "gcInterval" (int64 $controller.gcInterval) }}
{{- end }}
{{- with .Values.global.k8s.clusterDomain }}{{- $_ := set $file "clusterDomain" . }}{{- end }}
{{- if $controller.allowMassDeletes }}{{- $_ := set $file "allowMassDeletes" true }}{{- end }}
{{- if $controller.podAnnotations.enabled }}
  {{- $_ := set $file "podAnnotations" true }}
  {{- $_ := set $file "podAnnotationTrustDomains" $controller.podAnnotations.trustDomains }}
{{- end }}
{{- if $controller.addEntryIDPrefix }}{{- $_ := set $file "entryIDPrefix" (include "spire.clusterName.server" .) }}{{- end }}
{{- if kindIs "string" $controller.entryIDPrefixCleanup }}
  {{- $_ := set $file "entryIDPrefixCleanup" $controller.entryIDPrefixCleanup }}
{{- end }}
{{- with $controller.cacheNamespaces }}{{- $_ := set $file "cacheNamespaces" . }}{{- end }}
{{- if eq (include "spire.metrics" (list . "spire-server")) "on" }}
  {{- $_ := set $file "metrics" (dict "bindAddress" "0.0.0.0:8082") }}
{{- end }}
{{- if eq (include "spire.webhook" .) "on" }}
  {{- $_ := set $file "validatingWebhookConfigurationName" (include "spire.clusterwide" (list . (include "spire.controller.webhook" .))) }}
{{- end }}
{{- if eq (include "spire.leaderElection" .) "on" }}
  {{- $election := $controller.leaderElection }}
  {{- $_ := set $file "leaderElection" (dict
    "leaderElect" true
    "resourceName" (include "spire.controller.lease" .)
    "resourceNamespace" (include "spire.server.namespace" .)
    "leaseDuration" $election.leaseDuration
    "renewDeadline" $election.renewDeadline
    "retryPeriod" $election.retryPeriod) }}
{{- end }}
{{- $file | toYaml -}}
{{- end -}}

{{- define "spire.controller.lease" -}}
{{- printf "%s.spiffe.io" (printf "%s-%s" .Release.Namespace .Release.Name | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "spire.controller.container" -}}
{{- $controller := (index .Values "spire-server").controllerManager -}}
- name: spire-controller-manager
  image: {{ include "spire.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [/opt/spire/bin/spire-controller-manager]
  args: [-config, /run/spire/controller-manager/controller-manager-config.yaml]
  env:
    - name: ENABLE_WEBHOOKS
      value: {{ ternary "true" "false" (eq (include "spire.webhook" .) "on") | quote }}
    {{- with $controller.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- if eq (include "spire.webhook" .) "on" }}
    - name: https
      containerPort: 9443
    {{- end }}
    - name: hp-cm
      containerPort: 8083
    {{- if eq (include "spire.metrics" (list . "spire-server")) "on" }}
    - name: pm-cm
      containerPort: 8082
    {{- end }}
  livenessProbe:
    httpGet: {path: /healthz, port: hp-cm}
    {{- toYaml $controller.livenessProbe | nindent 4 }}
  readinessProbe:
    httpGet: {path: /readyz, port: hp-cm}
    {{- toYaml $controller.readinessProbe | nindent 4 }}
  resources:
    {{- toYaml $controller.resources | nindent 4 }}
  securityContext:
    {{- toYaml $controller.securityContext | nindent 4 }}
  volumeMounts:
    - name: spire-server-socket
      mountPath: /tmp/spire-server/private
      readOnly: true
    - name: controller-manager-config
      mountPath: /run/spire/controller-manager
      readOnly: true
{{- end -}}
