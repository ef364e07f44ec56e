{{/*
One process that writes: its Deployment, the Service that Prometheus reads, and a budget where there are several.
Passed: root, component (also the key of its values), and arguments.
*/}}
{{- define "catalyst.process" -}}
{{- $values := index .root.Values .component -}}
{{- $name := printf "catalyst-%s" .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "catalyst.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels: {app.kubernetes.io/name: catalyst, app.kubernetes.io/component: {{ .component }}}
  strategy:
    # The next one is ready, with all it has to know, before the last one lets go of the lease.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      {{- include "catalyst.podMetadata" . | nindent 6 }}
    spec:
      serviceAccountName: {{ $name }}
      {{- include "catalyst.pod" .root | nindent 6 }}
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels: {app.kubernetes.io/name: catalyst, app.kubernetes.io/component: {{ .component }}}
      containers:
      - name: {{ .component }}
        {{- include "catalyst.container" .root | nindent 8 }}
        args: {{- toYaml .arguments | nindent 8 }}
        env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        - name: RUST_LOG
          value: {{ $values.logLevel | quote }}
        ports:
        - {name: http, containerPort: 8080}
        livenessProbe:
          httpGet: {path: /livez, port: http}
          periodSeconds: 10
          failureThreshold: 3
        # Ready once it has read all it watches; whether it holds the lease does not matter.
        readinessProbe:
          httpGet: {path: /readyz, port: http}
          periodSeconds: 5
          failureThreshold: 3
        {{- with $values.resources }}
        resources: {{- toYaml . | nindent 10 }}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "catalyst.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  # No address of its own: each replica has figures of its own.
  clusterIP: None
  selector: {app.kubernetes.io/name: catalyst, app.kubernetes.io/component: {{ .component }}}
  ports:
  - {name: http, port: 8080, targetPort: http}
{{- if gt (int $values.replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "catalyst.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {app.kubernetes.io/name: catalyst, app.kubernetes.io/component: {{ .component }}}
{{- end }}
{{- end }}
