# A static binary and what it needs, in an image with nothing else in it.
# docs/containers.md says how to run it.

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETOS TARGETARCH TARGETVARIANT VERSION=unknown
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libcap2-bin make tzdata
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} GOMIPS=softfloat make build VERSION="$VERSION" \
    && packaging/image-tree.sh bin/telltale /image

FROM scratch
COPY --from=build /image/root/ /
# What it writes is its own; the program is not.
COPY --from=build --chown=65532:65532 /image/own/ /
USER 65532:65532
WORKDIR /var/lib/telltale
VOLUME ["/var/lib/telltale"]
EXPOSE 53/udp 53/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/telltale", "healthcheck"]
ENTRYPOINT ["/telltale"]
CMD ["serve"]
