{{/* Names and labels. Whatever belongs to one part takes (dict "root" $ "component" "kernel"). */}}

{{/* Short enough for the longest suffix, and for what Kubernetes adds to the names of pods. */}}
{{- define "objectql.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $whole := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $whole .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- end }}

{{- define "objectql.name" -}}
{{ include "objectql.fullname" .root }}-{{ .component }}
{{- end }}

{{- define "objectql.selector" -}}
app.kubernetes.io/name: objectql
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The same as a selector of the API, on one line. */}}
{{- define "objectql.match" -}}
{matchLabels: {{ include "objectql.selector" . | fromYaml | toJson }}}
{{- end }}

{{/* Of pods: nothing that changes with the version of the chart, or every upgrade would restart the data services. */}}
{{- define "objectql.podLabels" -}}
{{ include "objectql.selector" . }}
app.kubernetes.io/part-of: objectql
{{- end }}

{{- define "objectql.labels" -}}
{{ include "objectql.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* How the metadata of every object of one part begin. */}}
{{- define "objectql.metadata" -}}
name: {{ include "objectql.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "objectql.labels" . | nindent 2 }}
{{- end }}

{{/* The Secret of the installation. */}}
{{- define "objectql.secret" -}}
{{ default (include "objectql.fullname" .) .Values.secrets.existing }}
{{- end }}
