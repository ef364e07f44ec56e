{{/* What every object says of where it comes from. Never app.kubernetes.io/instance: Argo CD tracks by it. */}}
{{- define "catalyst.labels" -}}
app.kubernetes.io/name: catalyst
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image of every pod. */}}
{{- define "catalyst.image" -}}
{{- $image := .Values.images.catalyst -}}
{{- with .Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository }}:{{ $image.tag | default .Chart.AppVersion -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}
