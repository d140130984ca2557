{{/* What all pods have in common: the restricted profile of the pod security standards, and a little more. */}}

{{/* Takes (dict "root" $ "uid" 10001). No token: nothing here talks to Kubernetes. No links: they would look like settings. */}}
{{- define "objectql.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "objectql.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Pods of one part on many hosts and in many zones. */}}
{{- define "objectql.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ .root.Values.spread.host }}
    labelSelector: {{ include "objectql.match" . }}
    matchLabelKeys: [pod-template-hash]
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: {{ .root.Values.spread.zone }}
    labelSelector: {{ include "objectql.match" . }}
    matchLabelKeys: [pod-template-hash]
{{- end }}

{{/* Where pods of a service may run: its own choice, else that of all. */}}
{{- define "objectql.placement" -}}
{{- $common := .root.Values.pod }}
{{- $own := .values.pod }}
{{- range $name := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $own $name | default (get $common $name) }}
{{ $name }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}
