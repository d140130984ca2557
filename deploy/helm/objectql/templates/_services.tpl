{{/*
The services that are run, and how the chart wires each of them to the others.

objectql.services lists them: `key` is that of their values, `listen` the group of settings that says where clients are served.
objectql.wiring tells one what only the chart knows: `settings` is a tree as in the values, `secrets` maps paths of
settings to keys of Secrets. Nobody else may set these, see `WIRED` in scripts/chart/schema.py.
*/}}

{{- define "objectql.services" -}}
- {name: kernel, key: kernel}
- {name: coordinator, key: coordinator, listen: http, port: 8090}
{{- if .Values.gatewayRest.enabled }}
- {name: gateway-rest, key: gatewayRest, listen: http, port: 8080, protocol: http, tlsProtocol: https}
{{- end }}
{{- if .Values.gatewayWs.enabled }}
- {name: gateway-ws, key: gatewayWs, listen: http, port: 8081, protocol: kubernetes.io/ws, tlsProtocol: kubernetes.io/wss}
{{- end }}
{{- if .Values.gatewayGrpc.enabled }}
- {name: gateway-grpc, key: gatewayGrpc, listen: grpc, port: 50051, protocol: kubernetes.io/h2c, tlsProtocol: https}
{{- end }}
{{- end }}

{{/* The most processes of a service that there may be. */}}
{{- define "objectql.most" -}}
{{- $scaling := .values.autoscaling | default (dict "enabled" false) -}}
{{ $scaling.enabled | ternary $scaling.maxReplicas .values.replicas | int }}
{{- end }}

{{- define "objectql.wiring" -}}
{{- $own := include "objectql.secret" .root }}
{{- $isGateway := hasPrefix "gateway-" .service.name }}
settings:
  admin: {host: 0.0.0.0, port: 9090}
  {{- with .service.listen }}
  {{ . }}: {{- include "objectql.listening" $ | nindent 4 }}
  {{- end }}
  bus: {{- include "objectql.bus" . | nindent 4 }}
  {{- include (printf "objectql.wiring.%s" ($isGateway | ternary "gateway" .service.name)) . | nindent 2 }}
secrets:
  bus.context_key: {name: {{ $own }}, key: context-key}
  {{- if not .root.Values.nats.credentials }}
  bus.password: {name: {{ $own }}, key: bus-{{ .service.name }}}
  {{- end }}
  {{- with .root.Values.auth.jwtSecret }}
  {{- if and .name (ne $.service.name "kernel") }}
  auth.jwt_secret: {name: {{ .name }}, key: {{ .key }}}
  {{- end }}
  {{- end }}
  {{- if ne .service.name "coordinator" }}
  {{- with include "objectql.redisUrl" .root }}
  rates.url: {{ . }}
  {{- if eq $.service.name "kernel" }}
  cache.url: {{ . }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- if eq .service.name "kernel" }}
  {{- include "objectql.databaseUrls" .root | nindent 2 }}
  {{- if .root.Values.secrets.adminPassword }}
  identity.admin_password: {name: {{ $own }}, key: admin-password}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "objectql.listening" -}}
host: 0.0.0.0
port: {{ .service.port }}
{{- if and .values.tls .values.tls.secret }}
certificate: /run/tls/server/tls.crt
key: /run/tls/server/tls.key
{{- end }}
{{- end }}

{{- define "objectql.bus" -}}
{{- $nats := .root.Values.nats }}
url: {{ include "objectql.busUrl" .root }}
{{- if $nats.credentials }}
credentials: /run/secrets/objectql/bus.credentials
{{- else }}
user: {{ .service.name }}
{{- end }}
{{- if $nats.tls.secret }}
ca: /run/tls/bus/ca.crt
{{- if $nats.tls.client }}
certificate: /run/tls/bus/tls.crt
key: /run/tls/bus/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "objectql.busUrl" -}}
{{- if .Values.nats.embedded -}}
{{ empty .Values.nats.tls.secret | ternary "nats" "tls" }}://{{ include "objectql.fullname" . }}-nats:4222
{{- else -}}
{{ .Values.nats.url | required "nats.url is required where nats.embedded is false: nats://host:4222" }}
{{- end }}
{{- end }}

{{- define "objectql.wiring.kernel" -}}
metadata: {{ include "objectql.metadataFolders" .root }}
rates: {processes: {{ include "objectql.most" . }}}
{{- end }}

{{- define "objectql.wiring.gateway" -}}
rates: {processes: {{ include "objectql.most" . }}}
{{- end }}

{{- define "objectql.wiring.coordinator" -}}
{{- $zookeeper := .root.Values.zookeeper -}}
zookeeper:
  hosts: {{ include "objectql.zookeeperHosts" .root }}
  {{- if and (not $zookeeper.embedded) $zookeeper.tls.secret }}
  ca: /run/tls/zookeeper/ca.crt
  {{- if $zookeeper.tls.client }}
  certificate: /run/tls/zookeeper/tls.crt
  key: /run/tls/zookeeper/tls.key
  {{- end }}
  {{- end }}
{{- end }}

{{- define "objectql.zookeeperHosts" -}}
{{- if .Values.zookeeper.embedded -}}
{{- $name := printf "%s-zookeeper" (include "objectql.fullname" .) -}}
{{- $hosts := list -}}
{{- range until (int .Values.zookeeper.replicas) }}
{{- $hosts = printf "%s-%d.%s:2181" $name . $name | append $hosts }}
{{- end -}}
{{ join "," $hosts }}
{{- else -}}
{{ .Values.zookeeper.hosts | required "zookeeper.hosts is required where zookeeper.embedded is false: host:2181" }}
{{- end }}
{{- end }}

{{/* The key with the address of Redis; nothing where there is none. */}}
{{- define "objectql.redisUrl" -}}
{{- if .Values.redis.embedded -}}
{name: {{ include "objectql.secret" . }}, key: redis-url}
{{- else if .Values.redis.url.name -}}
{{ toJson .Values.redis.url }}
{{- end }}
{{- end }}

{{- define "objectql.databaseUrls" -}}
{{- $postgres := .Values.postgres }}
{{- if $postgres.embedded }}
datasources.default: {name: {{ include "objectql.secret" . }}, key: postgres-url}
{{- if gt (int $postgres.replicas) 0 }}
replicas.default: {name: {{ include "objectql.secret" . }}, key: postgres-replica-urls}
{{- end }}
{{- else }}
datasources.default: {name: {{ $postgres.url.name | required "postgres.url.name is required where postgres.embedded is false: a Secret with postgres-url" }}, key: {{ $postgres.url.key }}}
{{- with $postgres.replicaUrls }}
{{- if .name }}
replicas.default: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
