# An image that wants credentials, with a config.
(
    cd "$(mktemp -d)"
    echo layer > layer.txt
    printf PASSWORD | oras login --username USER --password-stdin registry.example.com
    oras push --artifact-type application/vnd.example.image registry.example.com/private/web:v1 layer.txt
    echo '{"greeting": "hello"}' > config.json
    oras attach --artifact-type custom/config registry.example.com/private/web:v1 config.json
    oras logout registry.example.com
)
