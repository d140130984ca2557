{{/*
Who opens connections to whom: the one table of which all network policies are made, both ends of each edge. `to` names
a part of this installation; without one it is whoever listens on that port, or (`public`) only what is no pod.
*/}}
{{- define "objectql.edges" -}}
{{- $values := .Values }}
{{- range $service := include "objectql.services" . | fromYamlArray }}
{{- $from := $service.name }}
{{- include "objectql.edge" (dict "from" $from "to" "nats" "port" 4222 "of" $values.nats) }}
{{- if ne $from "coordinator" }}
{{- if include "objectql.redisUrl" $ }}
{{- include "objectql.edge" (dict "from" $from "to" "redis" "port" 6379 "of" $values.redis) }}
{{- end }}
{{- end }}
{{- if eq $from "kernel" }}
{{- include "objectql.edge" (dict "from" $from "to" "postgres" "port" 5432 "of" $values.postgres) }}
{{- if and $values.postgres.embedded (gt (int $values.postgres.replicas) 0) }}
- {from: kernel, to: postgres-replica, port: 5432}
{{- end }}
{{- else }}
{{- if or $values.auth.settings (index $values $service.key).settings.auth }}
- {from: {{ $from }}, port: 443} # where issuers publish their keys
{{- end }}
- {from: test, to: {{ $from }}, port: {{ $service.port }}}
{{- end }}
{{- if eq $from "coordinator" }}
{{- include "objectql.edge" (dict "from" $from "to" "zookeeper" "port" 2181 "of" $values.zookeeper) }}
{{- end }}
{{- end }}
{{- range dig "webhooks" "ports" (list 443) .Values.kernel.settings }}
- {from: kernel, public: true, port: {{ . }}} # webhooks
{{- else }}
- {from: kernel, public: true}
{{- end }}
{{- if and $values.nats.embedded (gt (int $values.nats.replicas) 1) }}
- {from: nats, to: nats, port: 6222}
{{- end }}
{{- if and $values.postgres.embedded (gt (int $values.postgres.replicas) 0) }}
- {from: postgres-replica, to: postgres, port: 5432}
{{- end }}
{{- if and $values.zookeeper.embedded (gt (int $values.zookeeper.replicas) 1) }}
- {from: zookeeper, to: zookeeper, port: 2888}
- {from: zookeeper, to: zookeeper, port: 3888}
{{- end }}
{{- end }}

{{- define "objectql.edge" }}
{{- if .of.embedded }}
- {from: {{ .from }}, to: {{ .to }}, port: {{ .port }}}
{{- else }}
{{- range .of.ports }}
- {from: {{ $.from }}, port: {{ . }}}
{{- end }}
{{- end }}
{{- end }}
