{{/*
What stops an installation: settings that this chart refuses (files/refused.yaml), and settings that contradict
each other or the cluster. All are told at once.
*/}}
{{- define "spire.check" -}}
{{- $problems := dict "list" list -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) -}}
{{- include "spire.problem" (list $problems (printf "release name %q cannot begin the name of a Service: use lower-case letters, digits and dashes, a letter first" .Release.Name)) -}}
{{- end -}}
{{- include "spire.check.refused" (list . $problems) -}}
{{- include "spire.check.strict" (list . $problems) -}}
{{- include "spire.check.server" (list . $problems) -}}
{{- include "spire.check.agent" (list . $problems) -}}
{{- with $problems.list -}}
{{- fail (printf "\n\n%s\n" (join "\n" .)) -}}
{{- end -}}
{{- end -}}

{{/* (list problems text) */}}
{{- define "spire.problem" -}}
{{- $problems := index . 0 -}}
{{- $_ := set $problems "list" (append $problems.list (index . 1)) -}}
{{- end -}}

{{- define "spire.check.refused" -}}
{{- $root := index . 0 -}}
{{- $problems := index . 1 -}}
{{- range $root.Files.Get "files/refused.yaml" | fromYamlArray -}}
{{- $refusal := . -}}
{{- $found := dict "list" list -}}
{{- include "spire.find" (list $root.Values "" (splitList "." .path) $found) -}}
{{- range $found.list -}}
{{- $value := .value | toString -}}
{{- $idle := has $value (concat (list "" "false" "map[]" "[]" "<nil>" "0") ($refusal.unless | default list)) -}}
{{- if $refusal.only -}}
{{- $idle = true -}}
{{- range $refusal.only -}}{{- if eq (. | toString) $value -}}{{- $idle = false -}}{{- end -}}{{- end -}}
{{- end -}}
{{- if not $idle -}}
{{- $shown := ternary (toJson .value) "given" (has (kindOf .value) (list "string" "bool" "float64" "int64")) -}}
{{- include "spire.problem" (list $problems (printf "%s is %s: %s" .path $shown $refusal.because)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list value path words found): every value at a path, of which a word may be `*`. */}}
{{- define "spire.find" -}}
{{- $value := index . 0 -}}
{{- $path := index . 1 -}}
{{- $words := index . 2 -}}
{{- $found := index . 3 -}}
{{- if not $words -}}
{{- $_ := set $found "list" (append $found.list (dict "path" (trimPrefix "." $path) "value" $value)) -}}
{{- else if kindIs "map" $value -}}
{{- range $key, $inner := $value -}}
{{- if has (first $words) (list "*" $key) -}}
{{- include "spire.find" (list $inner (printf "%s.%s" $path $key) (rest $words) $found) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of examples, which a strict installation must not bear. */}}
{{- define "spire.check.strict" -}}
{{- $root := index . 0 -}}
{{- $problems := index . 1 -}}
{{- if eq (include "spire.strict" $root) "on" -}}
{{- $examples := dict
  "global.spire.clusterName" (list "example-cluster" (include "spire.clusterName.server" $root))
  "global.spire.trustDomain" (list "example.org" (include "spire.trustDomain.server" $root))
  "global.spire.caSubject.country" (list "ARPA" $root.Values.global.spire.caSubject.country)
  "global.spire.caSubject.organization" (list "Example" $root.Values.global.spire.caSubject.organization)
  "global.spire.caSubject.commonName" (list "example.org" $root.Values.global.spire.caSubject.commonName)
-}}
{{- range $key, $pair := $examples -}}
{{- if eq (index $pair 0) (index $pair 1) -}}
{{- include "spire.problem" (list $problems (printf "%s is %q, the value of examples: give your own, or set global.spire.strictMode to false" $key (index $pair 1))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spire.check.server" -}}
{{- $root := index . 0 -}}
{{- $problems := index . 1 -}}
{{- $server := index $root.Values "spire-server" -}}
{{- if $server.enabled -}}
{{- if gt (int $server.replicaCount) 1 -}}
{{- include "spire.problem" (list $problems (printf "spire-server.replicaCount is %d: servers with SQLite cannot share their records, use 1" (int $server.replicaCount))) -}}
{{- end -}}
{{- if and $server.federation.enabled (not $server.federation.tls.spire.enabled) -}}
{{- include "spire.problem" (list $problems "spire-server.federation.tls.spire.enabled is false: the bundle endpoint has no other way to prove itself") -}}
{{- end -}}
{{- if not (or $server.nodeAttestor.k8sPSAT.enabled $server.nodeAttestor.joinToken.enabled) -}}
{{- include "spire.problem" (list $problems "spire-server.nodeAttestor has nothing enabled: no agent could join; enable k8sPSAT or joinToken") -}}
{{- end -}}
{{- if and $server.controllerManager.filterByClassName $server.controllerManager.watchClassless -}}
{{- include "spire.problem" (list $problems "spire-server.controllerManager.filterByClassName and watchClassless are both true: objects without a class have no label to be found by; use one of them") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spire.check.agent" -}}
{{- $root := index . 0 -}}
{{- $problems := index . 1 -}}
{{- $agent := index $root.Values "spire-agent" -}}
{{- $csi := index $root.Values "spiffe-csi-driver" -}}
{{- if $agent.enabled -}}
{{- $version := $root.Capabilities.KubeVersion.Version -}}
{{- if and $agent.workloadAttestors.k8s.enabled (eq $agent.kubeletAuthorization "auto") (semverCompare "<1.33.0-0" $version) -}}
{{- include "spire.problem" (list $problems (printf "Kubernetes %s has no right to nodes/pods, with which agents read the list of pods of their kubelet: upgrade to 1.33, or set spire-agent.kubeletAuthorization to nodesProxy, which also lets agents run commands in every pod" $version)) -}}
{{- end -}}
{{- if not (or $agent.workloadAttestors.k8s.enabled $agent.workloadAttestors.unix.enabled) -}}
{{- include "spire.problem" (list $problems "spire-agent.workloadAttestors has nothing enabled: no workload could be recognised; enable k8s") -}}
{{- end -}}
{{- if and (eq (include "spire.kubelet" $root) "localhost") (eq (include "spire.agent.hostNetwork" $root) "off") -}}
{{- include "spire.problem" (list $problems "spire-agent.hostNetwork is false and spire-agent.kubeletAddress.mode is localhost: the kubelet is not on the pod's loopback address; set the mode to hostip") -}}
{{- end -}}
{{- if and $csi.enabled (ne (include "spire.csi.socketDirectory" $root) (include "spire.agent.socketDirectory" $root)) -}}
{{- include "spire.problem" (list $problems (printf "spiffe-csi-driver.agentSocketPath is in %s and spire-agent.socketPath in %s: pods would get a directory without a socket" (include "spire.csi.socketDirectory" $root) (include "spire.agent.socketDirectory" $root))) -}}
{{- end -}}
{{- $serverHere := (index $root.Values "spire-server").enabled -}}
{{- if and $serverHere (ne (include "spire.clusterName.agent" $root) (include "spire.clusterName.server" $root)) -}}
{{- include "spire.problem" (list $problems (printf "spire-agent.clusterName is %q and spire-server.clusterName %q: the server would refuse every agent; use global.spire.clusterName" (include "spire.clusterName.agent" $root) (include "spire.clusterName.server" $root))) -}}
{{- end -}}
{{- if and $serverHere (ne (include "spire.trustDomain.agent" $root) (include "spire.trustDomain.server" $root)) -}}
{{- include "spire.problem" (list $problems (printf "spire-agent.trustDomain is %q and spire-server.trustDomain %q: the server would refuse every agent; use global.spire.trustDomain" (include "spire.trustDomain.agent" $root) (include "spire.trustDomain.server" $root))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
