# Builds the whole of Tollgate and keeps the binary.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make g++ pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked && cp target/release/tollgate /tollgate

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/tollgate tollgate
COPY --from=build /tollgate /usr/local/bin/tollgate
USER tollgate
WORKDIR /var/lib/tollgate
ENTRYPOINT ["tollgate"]
CMD ["up", "--config", "/etc/tollgate/tollgate.yaml"]
