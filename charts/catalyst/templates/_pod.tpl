{{/* What holds for every pod of the chart: who runs it, where, and with which rights on its node. */}}
{{- define "catalyst.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.scheduling.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.scheduling.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* And for every container. */}}
{{- define "catalyst.container" -}}
image: {{ include "catalyst.image" . }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- end }}

{{/* Labels and annotations of a pod, for the component that is passed beside the root. */}}
{{- define "catalyst.podMetadata" -}}
labels:
  {{- /* Ours win: what selects a pod is not up to a value. */}}
  {{- $ours := dict "app.kubernetes.io/name" "catalyst" "app.kubernetes.io/component" .component }}
  {{- toYaml (merge $ours .root.Values.podLabels) | nindent 2 }}
{{- with .root.Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
