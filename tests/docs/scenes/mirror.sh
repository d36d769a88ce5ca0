# The mirror has the image, and nothing that is attached to it.
oras cp registry.example.com/shop/web:v1 mirror.example.com/shop/web:v1
