# The certificate of some authority.
cp "$SSL_CERT_FILE" ca.crt
