{{- define "telltale.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- define "telltale.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- define "telltale.labels" -}}
app.kubernetes.io/name: telltale
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
{{/* The settings of the center, with those of values in place of them. */}}
{{- define "telltale.centerSettings" -}}
{{- $address := .Values.center.address | default (list (printf "https://%s-center.%s.svc:%v" (include "telltale.name" .) .Release.Namespace .Values.center.service.port)) -}}
{{- $center := dict "listen" (list "0.0.0.0:5390") "address" $address -}}
{{- if .Values.center.metrics -}}{{- $_ := set $center "metrics" (list "0.0.0.0:9531") -}}{{- end -}}
{{- $all := dict "data" (dict "dir" "/var/lib/telltale") "lists" (dict "dir" "/etc/telltale/lists.d") "center" $center -}}
{{- toYaml (mergeOverwrite $all (deepCopy .Values.center.settings)) -}}
{{- end -}}
{{- define "telltale.nodeSettings" -}}
{{- $all := dict "data" (dict "dir" "/var/lib/telltale") "lists" (dict "dir" "/etc/telltale/lists.d") -}}
{{- if .Values.node.metricsPort -}}{{- $_ := set $all "metrics" (dict "listen" (list (printf "127.0.0.1:%v" .Values.node.metricsPort))) -}}{{- end -}}
{{- toYaml (mergeOverwrite $all (deepCopy .Values.node.settings)) -}}
{{- end -}}
{{/* The program has a file capability, without which in its bounding set it does not start. */}}
{{- define "telltale.capabilities" -}}
drop: [ALL]
add: [NET_BIND_SERVICE]
{{- end -}}
