{{/* A pod with the driver's volume ends only when the driver unmounts it. So the driver outlives the release. */}}
{{- define "spire.csi.kept" -}}
{{- if (index .Values "spiffe-csi-driver").keepOnUninstall -}}
helm.sh/resource-policy: keep
{{- end -}}
{{- end -}}
