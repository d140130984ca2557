{{/* What the data services have in common; each takes (dict "root" $ "component" "nats" "values" its-values). */}}

{{/* A Service whose pods have names of their own, also before they are ready. */}}
{{- define "objectql.nodes" -}}
apiVersion: v1
kind: Service
metadata: {{- include "objectql.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- include "objectql.selector" (dict "root" .root "component" (default .component .of)) | nindent 4 }}
  ports: {{- toYaml .ports | nindent 4 }}
{{- end }}

{{- define "objectql.statefulSpec" -}}
serviceName: {{ default (include "objectql.name" .) .nodes }}
replicas: {{ .replicas }}
podManagementPolicy: Parallel
selector: {{ include "objectql.match" . }}
{{- with .storage }}
volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .className }}
      storageClassName: {{ . }}
      {{- end }}
      resources: {requests: {storage: {{ .size }}}}
{{- end }}
{{- end }}

{{/* How the pod begins; takes the user id of the image too. */}}
{{- define "objectql.statefulPod" -}}
{{- include "objectql.podSecurity" . }}
affinity: # not two on one host, where there are several
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector: {{ include "objectql.match" . }}
{{- end }}
