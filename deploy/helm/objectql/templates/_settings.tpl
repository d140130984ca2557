{{/* Settings and secrets as what a container is given: variables, and files that variables name. */}}

{{/* A tree of settings as a map of variables; takes (dict "prefix" "OQL_KERNEL_" "settings" tree). */}}
{{- define "objectql.variables" -}}
{{- range $name, $value := .settings }}
{{- $variable := printf "%s%s" $.prefix (upper $name) }}
{{- if kindIs "map" $value }}
{{- include "objectql.variables" (dict "prefix" (printf "%s__" $variable) "settings" $value) }}
{{- else if kindIs "slice" $value }}
{{- $parts := list }}
{{- range $value }}
{{- $parts = include "objectql.scalar" . | append $parts }}
{{- end }}
{{ $variable }}: {{ join "," $parts | quote }}
{{- else }}
{{ $variable }}: {{ include "objectql.scalar" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* One value as text. Numbers by way of JSON: Go would write a million as 1e+06. */}}
{{- define "objectql.scalar" -}}
{{ kindIs "string" . | ternary . (toJson .) }}
{{- end }}

{{- define "objectql.prefix" -}}
OQL_{{ .service.name | upper | replace "-" "_" }}_
{{- end }}

{{/* Which settings a service reads from files: paths of settings to keys of Secrets. */}}
{{- define "objectql.secretFiles" -}}
{{- $wiring := include "objectql.wiring" . | fromYaml -}}
{{ merge (dict) (deepCopy .values.secrets) $wiring.secrets | toJson }}
{{- end }}

{{/* The environment of a service. What the chart wires has the last word. */}}
{{- define "objectql.environment" -}}
{{- $prefix := include "objectql.prefix" . }}
{{- $wiring := include "objectql.wiring" . | fromYaml }}
{{- $trees := list .root.Values.settings }}
{{- if ne .service.name "kernel" }}
{{- $trees = dict "auth" .root.Values.auth.settings | append $trees }}
{{- end }}
{{- $variables := dict }}
{{- range concat $trees (list .values.settings $wiring.settings) }}
{{- range $variable, $value := include "objectql.variables" (dict "prefix" $prefix "settings" .) | fromYaml }}
{{- $_ := set $variables $variable $value }}
{{- end }}
{{- end }}
{{- range $path, $_ := include "objectql.secretFiles" . | fromJson }}
{{- $_ := set $variables (printf "%s%s_FILE" $prefix ($path | upper | replace "." "__")) (printf "/run/secrets/objectql/%s" $path) }}
{{- end }}
- name: {{ $prefix }}INSTANCE
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- range $variable, $value := $variables }}
- name: {{ $variable }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* One volume with a file for every secret, named by the path of its setting. */}}
{{- define "objectql.secretVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $path, $from := include "objectql.secretFiles" . | fromJson }}
      - secret: {name: {{ $from.name }}, items: [{key: {{ $from.key }}, path: {{ $path }}}]}
      {{- end }}
      {{- if .root.Values.nats.credentials }}
      - secret: {name: {{ include "objectql.secret" .root }}, items: [{key: bus-{{ .service.name }}.creds, path: bus.credentials}]}
      {{- end }}
{{- end }}

{{/* Certificates: a folder below /run/tls for each Secret; takes the same as all of these. */}}
{{- define "objectql.certificates" -}}
{{- $values := .root.Values }}
{{- with $values.nats.tls.secret }}
bus: {{ . }}
{{- end }}
{{- if and (eq .service.name "coordinator") (not $values.zookeeper.embedded) $values.zookeeper.tls.secret }}
zookeeper: {{ $values.zookeeper.tls.secret }}
{{- end }}
{{- if and .values.tls .values.tls.secret }}
server: {{ .values.tls.secret }}
{{- end }}
{{- end }}
