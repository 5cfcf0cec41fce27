{{/* Pieces that many objects share. */}}

{{- define "spire.image" -}}
{{- with .Values.image -}}
{{- $registry := $.Values.global.spire.image.registry | default .registry -}}
{{- $name := ternary (printf "%s/%s" $registry .repository) .repository (ne $registry "") -}}
{{- if .digest -}}
{{- printf "%s@%s" $name .digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.tag | default $.Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spire.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .) }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (list context component): what selects its pods; never changes for an installation. */}}
{{- define "spire.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{- define "spire.labels" -}}
{{- $root := index . 0 -}}
{{ include "spire.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The label that exempts this chart's own custom resources from its webhook: they come before it serves. */}}
{{- define "spire.exempt" -}}
spire.spiffe.io/declared-by: chart
{{- end -}}

{{/* (list context component namespace name): metadata of a namespaced object. */}}
{{- define "spire.metadata" -}}
name: {{ index . 3 }}
namespace: {{ index . 2 }}
labels:
  {{- include "spire.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end -}}

{{/* (list context component namespace port values): the PodMonitor of a component. */}}
{{- define "spire.monitor" -}}
{{- $root := index . 0 -}}
{{- $monitors := $root.Values.global.telemetry.prometheus.podMonitor -}}
{{- $own := (index . 4).telemetry.prometheus.podMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "spire.named" (list $root (index . 1)) }}
  namespace: {{ $own.namespace | default $monitors.namespace | default (index . 2) }}
  labels:
    {{- include "spire.labels" (list $root (index . 1)) | nindent 4 }}
    {{- with merge (deepCopy $own.labels) $monitors.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  namespaceSelector:
    matchNames: [{{ index . 2 }}]
  selector:
    matchLabels:
      {{- include "spire.selector" (list $root (index . 1)) | nindent 6 }}
  podMetricsEndpoints:
    {{- range (index . 3) }}
    - port: {{ . }}
    {{- end }}
{{- end -}}
