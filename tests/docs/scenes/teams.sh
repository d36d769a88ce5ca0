# Namespaces of a team.
kubectl create namespace team-a
kubectl create namespace team-a-staging
