# The certificate is at hand, and so is an image in the registry that has it.
cp "$PRIVATE_CA" ca.crt
(
    authority=$(realpath ca.crt)
    cd "$(mktemp -d)"
    echo layer > layer.txt
    oras push --ca-file "$authority" --artifact-type application/vnd.example.image private.example.com/shop/web:v1 layer.txt
    echo '{"greeting": "hello"}' > config.json
    oras attach --ca-file "$authority" --artifact-type custom/config private.example.com/shop/web:v1 config.json
)
