{{/* (list where object known): refuses a property that is not known. */}}
{{- define "spire.known" -}}
{{- $where := index . 0 -}}
{{- $known := index . 2 -}}
{{- range $property, $_ := index . 1 -}}
{{- if not (has $property $known) -}}
{{- fail (printf "spire-server.controllerManager.identities.%s.%s is not a property; expected one of %s" $where $property (sortAlpha $known | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list context key object spec): the rest of a custom resource after its kind. */}}
{{- define "spire.identity" -}}
{{- $root := index . 0 -}}
{{- $object := index . 2 -}}
metadata:
  name: {{ include "spire.clusterwide" (list $root (printf "%s-%s" $root.Release.Name (get $object "name" | default (index . 1)))) }}
  labels:
    {{- include "spire.labels" (list $root "server") | nindent 4 }}
    {{- include "spire.exempt" $root | nindent 4 }}
    spire.spiffe.io/class-name: {{ include "spire.className" $root | quote }}
    {{- with get $object "labels" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with get $object "annotations" }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- toYaml (index . 3) | nindent 2 }}
{{- end -}}
