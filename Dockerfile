# check=error=true
#
# The image: a static program, the CA certificates of Debian, and three small files below /etc. Nothing else is in it,
# no shell and no package manager. docs/release.md says how it is made, signed and verified.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/artifactconfig:dev .
#
# Every platform is cross-compiled on the platform that builds; nothing is emulated.

# Named by its exact version. The digest that the tag stood for is recorded in the provenance of each release, and
# `docker buildx imagetools inspect docker.io/library/rust:1.95.0-bookworm` says what it stands for today: append it as
# @sha256:… to pin it, and Dependabot keeps it current from then on.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95.0-bookworm AS toolchain
# Before rust-toolchain.toml, which also asks for what only developers need.
ENV RUSTUP_TOOLCHAIN=1.95.0
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The list of crates in the program, for scanners and SBOMs; the version is that of the Makefile.
RUN cargo install --quiet --locked --version 0.7.7 --root /usr/local cargo-auditable
# What is above is the same for every platform, and made once. `triple` and `gcc` are names for the same processor.
ARG BUILDARCH
ARG TARGETARCH
RUN case $TARGETARCH in \
        amd64) triple=x86_64-unknown-linux-gnu gcc=x86-64 ;; \
        arm64) triple=aarch64-unknown-linux-gnu gcc=aarch64 ;; \
        *) echo "error: no image is made for $TARGETARCH: expected amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    rustup target add "$triple"; \
    echo "$triple" > /etc/triple; \
    if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends "gcc-$gcc-linux-gnu" "libc6-dev-$TARGETARCH-cross"; \
        rm -rf /var/lib/apt/lists/*; \
    fi

FROM toolchain AS build
WORKDIR /src
COPY . .
# Both platforms share the directory, so that build scripts and macros are compiled once; cargo keeps the rest apart.
RUN --mount=type=cache,id=artifactconfig-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=artifactconfig-target,target=/src/target,sharing=locked \
    program=$(CARGO_AUDITABLE=/usr/local/bin/cargo-auditable scripts/build-static "$(cat /etc/triple)"); \
    scripts/image-root "$program" /out

# The program alone, for the archives of a release: docker buildx build --target program --output type=local,dest=dist .
FROM scratch AS program
COPY --from=build /out/artifactconfig /artifactconfig

FROM scratch AS image
COPY --from=build /out/ /
# Dates, version, revision and source are added by the release.
LABEL org.opencontainers.image.title="artifactconfig" \
      org.opencontainers.image.description="Kubernetes operator that turns config attached to container images (OCI referrers) into ConfigMaps" \
      org.opencontainers.image.licenses="Apache-2.0"
# As a number: only so can the kubelet see that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/artifactconfig"]
