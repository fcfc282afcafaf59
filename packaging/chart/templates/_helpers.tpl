{{- define "videogen-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A release that has the name of the chart in its own gives it to its objects as it is. */}}
{{- define "videogen-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "videogen-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "videogen-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "videogen-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "videogen-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: videogen-exporter
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "videogen-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "videogen-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "videogen-exporter.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "videogen-exporter.scheme" -}}
{{- ternary "https" "http" (or .Values.web.tls .Values.web.clientCertificates) }}
{{- end }}

{{/* What every path begins with: as the exporter derives it from its options. */}}
{{- define "videogen-exporter.prefix" -}}
{{- if .Values.web.routePrefix }}
{{- trimSuffix "/" .Values.web.routePrefix }}
{{- else if .Values.web.externalUrl }}
{{- (urlParse .Values.web.externalUrl).path | trimSuffix "/" }}
{{- end }}
{{- end }}

{{/* Where the probes ask for health without a certificate: a socket that only the container sees. */}}
{{- define "videogen-exporter.healthSocket" -}}
unix:/run/videogen-exporter/health.sock
{{- end }}

{{/* The handler of a probe. Takes the root and the path. */}}
{{- define "videogen-exporter.probeHandler" -}}
{{- if .root.Values.web.clientCertificates -}}
exec:
  command:
    - /usr/bin/videogen-exporter
    - health
    - --web.listen-address={{ include "videogen-exporter.healthSocket" .root }}
    {{- with include "videogen-exporter.prefix" .root }}
    - --web.route-prefix={{ . }}
    {{- end }}
{{- else -}}
httpGet:
  path: {{ include "videogen-exporter.prefix" .root }}{{ .path }}
  port: http
  scheme: {{ include "videogen-exporter.scheme" .root | upper }}
{{- end }}
{{- end }}

{{/* The probes of the container that are enabled. */}}
{{- define "videogen-exporter.probes" -}}
{{- range $name, $path := dict "startupProbe" "/-/healthy" "livenessProbe" "/-/healthy" "readinessProbe" "/-/ready" }}
{{- $probe := index $.Values $name }}
{{- if $probe.enabled }}
{{ $name }}:
  {{- include "videogen-exporter.probeHandler" (dict "root" $ "path" $path) | nindent 2 }}
  {{- toYaml (omit $probe "enabled") | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* How Prometheus scrapes. Takes the root and the values of the monitor. */}}
{{- define "videogen-exporter.endpoint" -}}
{{- $scheme := include "videogen-exporter.scheme" .root }}
port: http
path: {{ include "videogen-exporter.prefix" .root }}{{ .root.Values.web.telemetryPath }}
scheme: {{ $scheme }}
interval: {{ .monitor.interval }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if eq $scheme "https" }}
{{- $name := printf "%s.%s.svc" (include "videogen-exporter.fullname" .root) .root.Release.Namespace }}
tlsConfig:
  {{- merge (deepCopy .monitor.tlsConfig) (dict "serverName" $name) | toYaml | nindent 2 }}
{{- end }}
{{- with .monitor.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.authorization }}
authorization:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Values that contradict each other; the schema sees each value alone. */}}
{{- define "videogen-exporter.check" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled: enable one of them; with both, Prometheus scrapes the exporter twice" }}
{{- end }}
{{- if and (or .Values.web.tls .Values.web.clientCertificates .Values.web.certificateSecret) (not .Values.web.existingSecret) }}
{{- fail "web.existingSecret: web.tls, web.clientCertificates and web.certificateSecret need a Secret with the web configuration" }}
{{- end }}
{{- range list "serviceMonitor" "podMonitor" }}
{{- $monitor := index $.Values . }}
{{- if and $monitor.basicAuth $monitor.authorization }}
{{- fail (printf "%s.basicAuth and %s.authorization: a request has one of them" . .) }}
{{- end }}
{{- end }}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) }}
{{- fail "persistence.existingClaim: it is not used while persistence.enabled is false" }}
{{- end }}
{{- end }}
