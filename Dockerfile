# Lattice in a container. Two stages: the first one has the compiler and all packages, the second what runs.
# glibc only: the binaries of uWebSockets.js and of the embedded Postgres do not load on musl (no alpine).

FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/build.mjs
COPY engine engine
COPY workers workers
COPY gateway gateway
COPY bench bench
COPY kernel kernel
# uWebSockets.js brings its binary for every platform and version of Node; one of them is ours (133 MB become 18).
RUN npm run --silent build \
  && npm prune --omit=dev --no-audit --no-fund \
  && keep="$(node -p '`uws_${process.platform}_${process.arch}_${process.versions.modules}.node`')" \
  && test -f "node_modules/uWebSockets.js/dist/bin/$keep" \
  && find node_modules/uWebSockets.js/dist/bin -name '*.node' ! -name "$keep" -delete \
  && find dist -name '*.test.js*' -delete

FROM node:22-bookworm-slim
ENV NODE_ENV=production \
    LATTICE_HOST=0.0.0.0 \
    LATTICE_PORT=8080 \
    LATTICE_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
# The server writes into /data and nowhere else.
RUN mkdir /data && chown node:node /data && chmod 0700 /data
VOLUME /data
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "require(process.env.LATTICE_TLS_CERT_FILE ? 'node:https' : 'node:http').get({ host: '127.0.0.1', port: process.env.LATTICE_PORT, path: '/health/ready', rejectUnauthorized: false }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# Other machines reach 0.0.0.0, so the server refuses to start without JWT_SECRET.
CMD ["node", "--enable-source-maps", "dist/gateway/cli.js", "start"]
