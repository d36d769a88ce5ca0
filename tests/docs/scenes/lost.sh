# Somebody deleted everything.
kubectl delete acfg --all --all-namespaces
