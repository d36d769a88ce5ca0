# An image is in the registry.
(
    cd "$(mktemp -d)"
    echo layer > layer.txt
    oras resolve registry.example.com/shop/web:v1 ||
        oras push --artifact-type application/vnd.example.image registry.example.com/shop/web:v1 layer.txt
)
