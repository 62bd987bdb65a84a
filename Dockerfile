# The program with its web app, as small as it gets without losing its C library.
FROM node:22-bookworm-slim AS node

FROM rust:1-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    AGORA_REQUIRE_WEB=1 cargo build --release --locked --bin agora && cp target/release/agora /agora

FROM debian:bookworm-slim
# Certificates for identity providers and webhooks.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/agora --shell /usr/sbin/nologin agora \
    && install --directory --owner agora --group agora --mode 700 /var/lib/agora /var/lib/agora/keys \
        /var/lib/agora/images
COPY --from=build /agora /usr/local/bin/agora
USER agora
WORKDIR /var/lib/agora
ENV AGORA_LISTEN=0.0.0.0:8080 AGORA_DATA=/var/lib/agora
VOLUME /var/lib/agora
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["agora"]
CMD ["serve"]
