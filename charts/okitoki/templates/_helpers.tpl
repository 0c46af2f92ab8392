{{- /* One name for every object: the operator is one per cluster, and a second release must collide, not compete. */}}
{{- define "okitoki.name" -}}okitoki-operator{{- end }}

{{- define "okitoki.selector" -}}
app.kubernetes.io/name: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "okitoki.labels" -}}
{{ include "okitoki.selector" . }}
app.kubernetes.io/part-of: okitoki
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "okitoki.image" -}}
{{- required (printf "images.%s is empty: give the full name of the image with its tag or digest" .which) (get .root.Values.images .which) -}}
{{- end }}

{{- /* Pod Security `restricted`, uid 10001 of the image. */}}
{{- define "okitoki.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "okitoki.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
