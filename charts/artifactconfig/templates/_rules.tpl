{{/* What the operator may do in a namespace, and no more. Each rule says what needs it. */}}
{{- define "artifactconfig.rules" -}}
# The resources: read and watched, never written.
- apiGroups: [artifactconfig.dev]
  resources: [artifactconfigs]
  verbs: [get, list, watch]
# Their status, by server-side apply.
- apiGroups: [artifactconfig.dev]
  resources: [artifactconfigs/status]
  verbs: [patch]
# Owner references that block the owner's deletion, where the cluster enforces that right
# (admission plugin OwnerReferencesPermissionEnforcement).
- apiGroups: [artifactconfig.dev]
  resources: [artifactconfigs/finalizers]
  verbs: [update]
# Targets: watched as metadata, read before each write, written, and deleted when a resource changes its target's name.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Pull secrets, certificates, and the accounts that name pull secrets: by name only. Without list and watch nobody can
# ask the operator for Secrets that no resource names.
- apiGroups: [""]
  resources: [secrets, serviceaccounts]
  verbs: [get]
# Which revisions are still in use: listed in the resource's namespace, and only when there is one to collect.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [apps]
  resources: [replicasets, deployments, statefulsets, daemonsets, controllerrevisions]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [list]
{{- if .Values.workloads.enabled }}
# Workloads that resources follow: read at each reconcile, and watched while a resource follows one of the kind.
{{- $verbs := ternary "[get, list, watch, patch]" "[get, list, watch]" .Values.bind.enabled }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: {{ $verbs }}
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: {{ $verbs }}
{{- range .Values.workloads.kinds }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: {{ $verbs }}
{{- end }}
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
