# A config is attached to the image.
(
    cd "$(mktemp -d)"
    echo '{"greeting": "hello"}' > config.json
    oras attach --artifact-type custom/config registry.example.com/shop/web:v1 config.json
)
