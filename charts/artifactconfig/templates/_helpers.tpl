{{/* Name of most objects: the release's, with the chart's where it is not in it. At most 63 characters, the bound of a label. */}}
{{- define "artifactconfig.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains "artifactconfig" .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-artifactconfig" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Name of objects that belong to no namespace: two releases in two namespaces may have one name. */}}
{{- define "artifactconfig.clusterName" -}}
{{- $full := include "artifactconfig.fullname" . }}
{{- if eq $full .Release.Namespace }}
{{- $full }}
{{- else }}
{{- printf "%s:%s" .Release.Namespace $full }}
{{- end }}
{{- end }}

{{- define "artifactconfig.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "artifactconfig.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name: name the ServiceAccount that exists, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What Pods are selected by; never to change for a release. */}}
{{- define "artifactconfig.selectorLabels" -}}
app.kubernetes.io/name: artifactconfig
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. Those of the chart go before those of the values: a key may stand only once. */}}
{{- define "artifactconfig.labels" -}}
{{- merge (include "artifactconfig.chartLabels" . | fromYaml) .Values.commonLabels | toYaml }}
{{- end }}

{{- define "artifactconfig.chartLabels" -}}
{{ include "artifactconfig.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The metadata of an object: dict "context" $ "name" … "annotations" … "labels" … "namespace" ("-": none). */}}
{{- define "artifactconfig.metadata" -}}
{{- $annotations := merge (dict) (.annotations | default dict) .context.Values.commonAnnotations -}}
name: {{ .name }}
{{- if ne (.namespace | default "") "-" }}
namespace: {{ .namespace | default .context.Release.Namespace }}
{{- end }}
labels:
  {{- merge (include "artifactconfig.labels" .context | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* With the registry that a parent chart sets for all its images instead of the image's own. As in any reference, the
first part is a registry where it has a dot or a port, or is localhost. */}}
{{- define "artifactconfig.repository" -}}
{{- $repository := .Values.image.repository -}}
{{- with (.Values.global | default dict).imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}{{ $parts = rest $parts }}{{ end -}}
{{ . }}/{{ join "/" $parts }}
{{- else -}}
{{ $repository }}
{{- end -}}
{{- end }}

{{- define "artifactconfig.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ include "artifactconfig.repository" . }}@{{ $image.digest }}
{{- else -}}
{{ include "artifactconfig.repository" . }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Secrets that the image is pulled with, as a list, each once. */}}
{{- define "artifactconfig.imagePullSecrets" -}}
{{- $secrets := list }}
{{- range concat ((.Values.global | default dict).imagePullSecrets | default list) .Values.imagePullSecrets }}
{{- $secrets = append $secrets (dict "name" (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name"))) }}
{{- end }}
{{- uniq $secrets | toYaml }}
{{- end }}

{{/* Port of /livez, /readyz and /metrics: that of the address where one is set. */}}
{{- define "artifactconfig.port" -}}
{{- regexFind "[0-9]+$" (.Values.controller.healthAddress | default "0.0.0.0:8080") -}}
{{- end }}

{{- define "artifactconfig.leaseName" -}}
{{- .Values.leaderElection.leaseName | default (include "artifactconfig.fullname" .) -}}
{{- end }}

{{- define "artifactconfig.leaseNamespace" -}}
{{- .Values.leaderElection.leaseNamespace | default .Release.Namespace -}}
{{- end }}

{{/* Arguments of the operator, as a list. What is not set is not passed: the operator's own default holds. */}}
{{- define "artifactconfig.args" -}}
- controller
{{- $c := .Values.controller }}
{{- $flags := list
  (list "health-address" $c.healthAddress)
  (list "admin-address" $c.adminAddress)
  (list "concurrency" $c.concurrency)
  (list "content-cache-bytes" $c.contentCacheBytes)
  (list "registry-concurrency" $c.registryConcurrency)
  (list "registry-rate" $c.registryRate)
  (list "log-format" $c.logFormat)
  (list "log-level" $c.logLevel)
  (list "otlp-endpoint" .Values.tracing.endpoint)
  (list "trace-sample-ratio" .Values.tracing.sampleRatio)
}}
{{- with .Values.namespaces }}
- --namespaces={{ join "," . }}
{{- end }}
{{- range $c.allowRegistries }}
- {{ printf "--allow-registry=%s" . | quote }}
{{- end }}
{{- if $c.allowLinkLocal }}
- --allow-link-local
{{- end }}
{{- range $flags }}
{{- $value := index . 1 }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{- /* Helm reads numbers as floats, and prints large ones with an exponent. */}}
{{- if and (kindIs "float64" $value) (eq $value (floor $value)) }}{{ $value = int64 $value }}{{ end }}
- {{ printf "--%s=%v" (index . 0) $value | quote }}
{{- end }}
{{- end }}
{{- if .Values.leaderElection.enabled }}
- --leader-elect
- --lease-name={{ include "artifactconfig.leaseName" . }}
- --lease-namespace={{ include "artifactconfig.leaseNamespace" . }}
{{- with .Values.leaderElection.leaseDuration }}
- --lease-duration={{ . }}
{{- end }}
{{- end }}
{{- if not .Values.metrics.perResource }}
- --resource-metrics=false
{{- end }}
{{- if .Values.credentialProviders.config }}
- --image-credential-provider-config=/etc/artifactconfig/credential-providers/config.yaml
- --image-credential-provider-bin-dir=/opt/artifactconfig/credential-providers
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* What no schema can say: values that do not go together. */}}
{{- define "artifactconfig.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicas: more than one needs leaderElection.enabled, or each of them would ask the registries and write" }}
{{- end }}
{{- if and .Values.credentialProviders.config (not .Values.credentialProviders.volume) }}
{{- fail "credentialProviders.volume: name the volume that holds the programs of credentialProviders.config" }}
{{- end }}
{{- if and .Values.credentialProviders.volume (not .Values.credentialProviders.config) }}
{{- fail "credentialProviders.config: the programs in credentialProviders.volume need a CredentialProviderConfig that says for which images they are" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor.enabled: a ServiceMonitor finds Pods through a Service; set metrics.service.enabled" }}
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
{{- fail "caBundle: set configMap or secret, not both" }}
{{- end }}
{{- end }}
