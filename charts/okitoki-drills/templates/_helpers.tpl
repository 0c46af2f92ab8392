{{- define "drills.labels" -}}
{{ include "drills.selector" . }}
app.kubernetes.io/part-of: okitoki-drills
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* Drills find agents and watchdogs by the name; agents carry no `part-of: okitoki`, they are nobody's servers. */}}
{{- define "drills.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- /* The rights of `allow` that were given, as a list. */}}
{{- define "drills.allowed" -}}
{{- $given := list }}
{{- range $right, $yes := .Values.allow }}{{ if $yes }}{{ $given = append $given $right }}{{ end }}{{ end }}
{{- toJson $given }}
{{- end }}

{{- define "drills.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Faults of a node spare that of the drill and of its watchdog: the fewer such nodes opted in, the more can be hurt. */}}
{{- define "drills.elsewhere" -}}
nodeAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      preference:
        matchExpressions:
          {{- range $label, $value := .Values.agent.nodeSelector }}
          - {key: {{ $label }}, operator: NotIn, values: [{{ $value | quote }}]}
          {{- end }}
{{- end }}

{{- define "drills.container" -}}
image: {{ .Values.image }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: HOME, value: /tmp}
  - {name: KUBECONFIG, value: /etc/okitoki-drills/kubeconfig}
  - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
{{- end }}
