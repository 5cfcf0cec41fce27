{{/*
Which of the given keys have no effect. Helm lets every key pass; a line in the notes is what tells a user of a
slip of the pen, and a user of upstream's chart of what is not here. files/keys.txt lists the keys that this
chart reads: a key below one of them is the user's own.
*/}}
{{- define "spire.withoutEffect" -}}
{{- $known := dict -}}
{{- range .Files.Lines "files/keys.txt" -}}{{- $_ := set $known . true -}}{{- end -}}
{{- $reasons := .Files.Get "files/without-effect.yaml" | fromYamlArray -}}
{{- $refusals := .Files.Get "files/refused.yaml" | fromYamlArray -}}
{{- $found := dict "list" list -}}
{{- range $key, $value := .Values -}}
{{- include "spire.unknown" (list $key $value $known $found) -}}
{{- end -}}
{{- range $found.list -}}
{{- $path := .path -}}
{{- $because := "no such key; is it spelled right?" -}}
{{- $asks := true -}}
{{- range reverse $reasons -}}{{- if hasPrefix .path $path -}}{{- $because = .because -}}{{- end -}}{{- end -}}
{{- if ne $because "no such key; is it spelled right?" -}}{{- $asks = ne (toString .value) "false" -}}{{- end -}}
{{- range $refusals -}}
{{- /* What is refused is off, or nothing would be rendered: then the rest of its block asks for nothing. */ -}}
{{- $block := .path | trimSuffix ".enabled" | replace "." "\\." | replace "*" "[^.]+" -}}
{{- if regexMatch (printf "^%s(\\.|$)" $block) $path -}}{{- $asks = false -}}{{- end -}}
{{- end -}}
{{- if $asks -}}{{- printf "  %s: %s\n" $path $because -}}{{- end -}}
{{- end -}}
{{- if (index .Values "spiffe-oidc-discovery-provider").enabled -}}
{{- printf "  spiffe-oidc-discovery-provider.enabled: the OIDC discovery provider is not part of finial yet\n" -}}
{{- end -}}
{{- end -}}

{{/* (list path value known found): adds the paths of leaves that nothing reads. Empty maps and lists ask for
nothing. */}}
{{- define "spire.unknown" -}}
{{- $path := index . 0 -}}
{{- $value := index . 1 -}}
{{- $known := index . 2 -}}
{{- $found := index . 3 -}}
{{- if hasKey $known $path -}}
{{- else if kindIs "map" $value -}}
{{- range $key, $inner := $value -}}
{{- include "spire.unknown" (list (printf "%s.%s" $path $key) $inner $known $found) -}}
{{- end -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $found "list" (append $found.list (dict "path" $path "value" $value)) -}}
{{- end -}}
{{- end -}}
