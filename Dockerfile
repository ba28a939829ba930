# capsnetd in a container: docker build -t capsnetd . && docker run -p 8080:8080 capsnetd

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        make gcc libc6-dev pkg-config libmicrohttpd-dev libgnutls28-dev libcjson-dev libpng-dev \
        zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
COPY model model
COPY server server
RUN make build/capsnetd && strip build/capsnetd

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        libmicrohttpd12 libgnutls30 libcjson1 libpng16-16 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/capsnetd /usr/local/bin/capsnetd
# Fails the build, not the deployment, when a shared library is missing.
RUN ["/usr/local/bin/capsnetd", "--version"]
COPY weights/capsnet-mnist.safetensors /usr/share/capsnetd/capsnet-mnist.safetensors
ENV CAPSNETD_LISTEN=0.0.0.0:8080 \
    CAPSNETD_WEIGHTS=/usr/share/capsnetd/capsnet-mnist.safetensors
# Numeric, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
    CMD ["/usr/local/bin/capsnetd", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/capsnetd"]
