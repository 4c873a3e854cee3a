{{- /* The name of everything here: flin-operator for the release "flin". */ -}}
{{- define "flin.name" -}}
{{- printf "%s-operator" (.Release.Name | trunc 50 | trimSuffix "-") -}}
{{- end -}}

{{- define "flin.selector" -}}
app.kubernetes.io/name: flin
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "flin.labels" -}}
{{ include "flin.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* What the operator may do where its FlinClusters are: exactly what it does. */ -}}
{{- define "flin.rules" -}}
# The clusters, and what is said of them.
- apiGroups: [flin.io]
  resources: [flinclusters]
  verbs: [list, watch]
- apiGroups: [flin.io]
  resources: [flinclusters/status]
  verbs: [update]
# What is made for them.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# The passwords: created once, read by name, never listed.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
# Their nodes, of which one at a time is restarted, and the volumes that earlier clusters left.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
