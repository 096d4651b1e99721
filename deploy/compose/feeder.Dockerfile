# The feeder of the demonstration stack. It is no part of a release.
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY pkg pkg
COPY internal internal
COPY test/feeder test/feeder
RUN mkdir -p /out/bin /out/keys && \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/bin/ ./test/feeder

FROM ${BASE_IMAGE}
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/keys /keys
USER 65532:65532
EXPOSE 8099
HEALTHCHECK --interval=2s --timeout=5s --start-period=2m CMD ["/usr/local/bin/feeder", "health"]
ENTRYPOINT ["/usr/local/bin/feeder"]
