{{/* Packages of metadata: where kernels find them, and how they get there. */}}

{{- define "objectql.metadataFolders" -}}
{{- $folders := list }}
{{- range .Values.metadata }}
{{- $folders = default (printf "/metadata/%s" .name) .path | append $folders }}
{{- end }}
{{- toJson $folders }}
{{- end }}

{{- define "objectql.metadataVolumes" -}}
{{- range .Values.metadata }}
{{- if .files }}
- name: metadata-{{ .name }}
  configMap: {name: {{ include "objectql.fullname" $ }}-metadata-{{ .name }}}
{{- else if .configMap }}
- name: metadata-{{ .name }}
  configMap: {name: {{ .configMap }}}
{{- else if .image }}
- name: metadata-{{ .name }}
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
{{- end }}
{{- end }}

{{- define "objectql.metadataMounts" -}}
{{- range .Values.metadata }}
{{- if not .path }}
- {name: metadata-{{ .name }}, mountPath: /metadata/{{ .name }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "objectql.metadataCopies" -}}
{{- range .Values.metadata }}
{{- if .image }}
- name: metadata-{{ .name }}
  image: {{ .image }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  command: [cp, -R, /metadata/., /target/]
  securityContext: {{- include "objectql.containerSecurity" $ | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {cpu: 500m, memory: 64Mi}
  volumeMounts:
    - {name: metadata-{{ .name }}, mountPath: /target}
{{- end }}
{{- end }}
{{- end }}
