{{- define "load.labels" -}}
app.kubernetes.io/name: load
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: okitoki
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "load.selector" -}}
app.kubernetes.io/name: load
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What master and workers are told alike; the master's word on the rest reaches the workers with each run. */}}
{{- define "load.arguments" -}}
- --locustfile=/opt/okitoki/src/locustfile.py
- --ledger=/results
{{- end }}

{{- define "load.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
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

{{- define "load.container" -}}
image: {{ .Values.image }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: results, mountPath: /results}
  - {name: tmp, mountPath: /tmp}
  - {name: key, mountPath: /key, readOnly: true}
{{- if .Values.target.ca.configMap }}
  - {name: ca, mountPath: /ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "load.volumes" -}}
- name: tmp
  emptyDir: {}
- name: key
  secret:
    secretName: {{ .Values.target.apiKey.secret }}
    items: [{key: {{ .Values.target.apiKey.key }}, path: key}]
{{- if .Values.target.ca.configMap }}
- name: ca
  configMap:
    name: {{ .Values.target.ca.configMap }}
    items: [{key: {{ .Values.target.ca.key }}, path: ca.crt}]
{{- end }}
{{- end }}
