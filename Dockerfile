# Both programs in one image without a shell: the worker starts by itself, the
# other one with --entrypoint.
#
#   docker build --build-arg VERSION=$(git describe --tags --always --dirty) -t trailseal .
#   docker run --read-only -v state:/var/lib/ingest trailseal --source s3://my-trail-bucket ...
#   docker run --read-only --rm --entrypoint verifier trailseal verify s3://my-trail-bucket
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY pkg pkg
COPY internal internal
COPY cmd cmd
# The state's folder is made here: the image that follows can make none.
ARG VERSION=devel
RUN mkdir -p /out/bin /out/state && \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.release=${VERSION}" -o /out/bin/ ./cmd/...

FROM ${BASE_IMAGE}
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="trailseal" \
      org.opencontainers.image.description="Proves AWS CloudTrail logs and feeds only proven events onward" \
      org.opencontainers.image.source="https://github.com/trailseal/trailseal" \
      org.opencontainers.image.documentation="https://github.com/trailseal/trailseal/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /usr/share/doc/trailseal/LICENSE
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/state /var/lib/ingest
# By number: only so can an orchestrator see that it is not root.
USER 65532:65532
# Where trailseal.state lies unless --state says otherwise.
WORKDIR /var/lib/ingest
VOLUME /var/lib/ingest
EXPOSE 9090
# It asks the listener that TRAILSEAL_LISTEN (and TRAILSEAL_WEB_CONFIG) or the
# file in TRAILSEAL_CONFIG names: flags of the worker are not known to it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s CMD ["/usr/local/bin/ingest", "health"]
ENTRYPOINT ["/usr/local/bin/ingest"]
