# capsnetd in a container: docker build -t capsnetd . && docker run -p 8080:8080 capsnetd
#
#   --target trainer          capsnet-train instead (docker build --target trainer -t capsnet-train .)
#   --platform linux/arm64    cross-built, with nothing emulated (BuildKit or buildah)
#
# Nothing here needs BuildKit: Debian 12's Docker and podman build it as well.
# The same sources and the same Debian packages give the same layers, byte for
# byte: every file carries the time SOURCE_DATE_EPOCH.

# The version's one place: the Makefile reads it here, a label could not read it there.
ARG VERSION=0.1.0
ARG BASE=debian:bookworm-slim

# BUILDPLATFORM is the machine that builds; BuildKit sets it.  An older builder on
# arm64 wants --build-arg BUILDPLATFORM=linux/arm64.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BASE} AS build
ARG TARGETARCH
RUN set -eu; native=$(dpkg --print-architecture); arch=${TARGETARCH:-$native}; gcc=gcc; \
    if [ "$arch" != "$native" ]; then \
        dpkg --add-architecture "$arch"; \
        case $arch in amd64) gcc=gcc-x86-64-linux-gnu ;; arm64) gcc=gcc-aarch64-linux-gnu ;; esac; \
    fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends make pkg-config binutils $gcc \
        "libc6-dev:$arch" "libmicrohttpd-dev:$arch" "libgnutls28-dev:$arch" "libcjson-dev:$arch" \
        "libpng-dev:$arch" "zlib1g-dev:$arch" "libopenblas-pthread-dev:$arch"; \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Dockerfile Makefile ./
COPY model model
COPY server server
RUN set -eu; case ${TARGETARCH:-$(dpkg --print-architecture)} in \
        amd64) triplet=x86_64-linux-gnu ;; arm64) triplet=aarch64-linux-gnu ;; \
        *) echo "neither amd64 nor arm64"; exit 1 ;; esac; \
    export PKG_CONFIG_LIBDIR=/usr/lib/$triplet/pkgconfig:/usr/share/pkgconfig; \
    make -j"$(nproc)" CC=$triplet-gcc all; \
    $triplet-strip build/capsnetd build/capsnet-train
COPY LICENSE ./
COPY deploy/rootfs.sh deploy/
COPY weights/*.safetensors weights/
ARG SOURCE_DATE_EPOCH=0
RUN sh deploy/rootfs.sh build/capsnetd /rootfs/capsnetd weights/*.safetensors \
    && sh deploy/rootfs.sh build/capsnet-train /rootfs/capsnet-train

# No shell, no package manager: the program, its libraries, their licences.
FROM scratch AS trainer
ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="capsnet-train" \
      org.opencontainers.image.description="Trains capsule networks for capsnetd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /rootfs/capsnet-train/ /
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["/usr/bin/capsnet-train"]
CMD ["--help"]

FROM scratch AS server
ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="capsnetd" \
      org.opencontainers.image.description="A capsule network behind HTTP" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /rootfs/capsnetd/ /
ENV CAPSNETD_LISTEN=0.0.0.0:8080 \
    CAPSNETD_WEIGHTS=/usr/share/capsnetd
# Numeric, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 \
    CMD ["/usr/bin/capsnetd", "healthcheck"]
ENTRYPOINT ["/usr/bin/capsnetd"]
