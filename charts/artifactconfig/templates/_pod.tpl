{{/* Environment, volumes and mounts that follow from values, each as a list. */}}
{{- define "artifactconfig.env" -}}
{{- with .Values.proxy.https }}
- {name: HTTPS_PROXY, value: {{ . | quote }}}
{{- end }}
{{- with .Values.proxy.http }}
- {name: HTTP_PROXY, value: {{ . | quote }}}
{{- end }}
{{- with .Values.proxy.noProxy }}
- {name: NO_PROXY, value: {{ . | quote }}}
{{- end }}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- {name: SSL_CERT_FILE, value: /etc/artifactconfig/ca/ca.crt}
{{- end }}
{{- end }}

{{- define "artifactconfig.volumes" -}}
{{- if .Values.caBundle.configMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.configMap }}
    items: [{key: {{ .Values.caBundle.key | quote }}, path: ca.crt}]
{{- else if .Values.caBundle.secret }}
- name: ca
  secret:
    secretName: {{ .Values.caBundle.secret }}
    items: [{key: {{ .Values.caBundle.key | quote }}, path: ca.crt}]
{{- end }}
{{- if .Values.credentialProviders.config }}
- name: credential-provider-config
  configMap:
    name: {{ include "artifactconfig.fullname" . }}-credential-providers
- name: credential-providers
  {{- toYaml .Values.credentialProviders.volume | nindent 2 }}
{{- end }}
{{- end }}

{{- define "artifactconfig.volumeMounts" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- {name: ca, mountPath: /etc/artifactconfig/ca, readOnly: true}
{{- end }}
{{- if .Values.credentialProviders.config }}
- {name: credential-provider-config, mountPath: /etc/artifactconfig/credential-providers, readOnly: true}
- {name: credential-providers, mountPath: /opt/artifactconfig/credential-providers, readOnly: true}
{{- end }}
{{- end }}
