# One config was attached and applied.
(
    cd "$(mktemp -d)"
    echo layer > layer.txt
    oras resolve registry.example.com/shop/web:v1 ||
        oras push --artifact-type application/vnd.example.image registry.example.com/shop/web:v1 layer.txt
    echo '{"greeting": "hello"}' > config.json
    oras attach --artifact-type custom/config registry.example.com/shop/web:v1 config.json
    cat > web.yaml <<'YAML'
apiVersion: artifactconfig.dev/v1alpha1
kind: ArtifactConfig
metadata:
  name: web
spec:
  image: registry.example.com/shop/web:v1
  artifactType: custom/config
YAML
    kubectl apply -f web.yaml
    kubectl wait acfg/web --for=condition=Ready --timeout=1m
)
