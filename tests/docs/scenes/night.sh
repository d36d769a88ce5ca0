# Two more configs were attached and applied, the last of them a bad one.
(
    cd "$(mktemp -d)"
    echo '{"greeting": "hello again"}' > config.json
    oras attach --artifact-type custom/config registry.example.com/shop/web:v1 config.json
    artifactconfig sync web
    echo '{"greeting": "hello again", "database": "staging"}' > config.json
    oras attach --artifact-type custom/config registry.example.com/shop/web:v1 config.json
    artifactconfig sync web
)
