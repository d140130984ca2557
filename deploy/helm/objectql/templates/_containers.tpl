{{/* Parts of a service's container. */}}

{{- define "objectql.image" -}}
{{ .root.Values.image.prefix }}{{ .service.name }}:{{ coalesce .values.image.tag .root.Values.image.tag .root.Chart.AppVersion }}
{{- end }}

{{/* Seconds that a stopping process is given for what is in flight. */}}
{{- define "objectql.drainSeconds" -}}
{{- $settings := .root.Values.settings }}
{{- if hasKey .values.settings "drain_s" }}
{{- $settings = .values.settings }}
{{- end }}
{{- hasKey $settings "drain_s" | ternary $settings.drain_s 20 | ceil }}
{{- end }}

{{/* Serving on while balancers learn of it, the drain, and what the process needs besides. */}}
{{- define "objectql.graceSeconds" -}}
{{ add (int .root.Values.preStopSeconds) (include "objectql.drainSeconds" . | int) 10 }}
{{- end }}

{{- define "objectql.probes" -}}
startupProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /ready, port: admin}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 2
{{- if gt (int .root.Values.preStopSeconds) 0 }}
lifecycle: # a process that is told to stop takes nothing more, and balancers hear of that later than it does
  preStop: {exec: {command: [sleep, {{ .root.Values.preStopSeconds | quote }}]}}
{{- end }}
{{- end }}
