# The operator is installed again.
helm install artifactconfig charts/artifactconfig --namespace artifactconfig-system --create-namespace
kubectl -n artifactconfig-system rollout status deployment/artifactconfig
