# syntax=docker/dockerfile:1
# Targets: cpu (the last one, so the default) and gpu.

FROM node:24-bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
# Scripts wait until the sources are there; the packages used here ship their binaries inside them.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY scripts/build-native.mjs ./scripts/
COPY native ./native
RUN node scripts/build-native.mjs --require
COPY tsconfig.json ./
COPY src ./src
RUN npx tsc -p tsconfig.json --rootDir . --incremental false

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/add-telemetry.mjs ./scripts/
# On a CPU the trainer runs on wasm: the CUDA package and what it alone brings would only fill the image.
RUN node scripts/add-telemetry.mjs \
    && npm pkg delete optionalDependencies.@tensorflow/tfjs-node-gpu \
    && npm install --omit=dev --ignore-scripts --no-audit --no-fund

# tfjs-node-gpu 4.22 links libtensorflow 2.9: CUDA 11 and cuDNN 8. What is compiled is built against this system's C library.
FROM nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04 AS gpu-dependencies
COPY --from=node:24-bookworm-slim /usr/local/bin/node /usr/local/bin/node
COPY --from=node:24-bookworm-slim /usr/local/include/node /usr/local/include/node
COPY --from=node:24-bookworm-slim /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ make python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/add-telemetry.mjs ./scripts/
RUN node scripts/add-telemetry.mjs && npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY scripts/build-native.mjs ./scripts/
COPY native ./native
RUN node scripts/build-native.mjs --require
# The package is optional, so npm would pass over a failed download in silence: here it has to be there.
RUN npm_config_nodedir=/usr/local npm rebuild @tensorflow/tfjs-node-gpu \
    && ls node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v*/tfjs_binding.node

FROM nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04 AS gpu
COPY --from=node:24-bookworm-slim /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=gpu-dependencies /app/node_modules ./node_modules
COPY --from=gpu-dependencies /app/native/build/Release/bitdial.node ./native/build/Release/bitdial.node
COPY --from=build /app/dist ./dist
COPY package.json ./
COPY models ./models
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 MODELS_DIR=/app/models DATA_DIR=/data TF_CPP_MIN_LOG_LEVEL=2
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --create-home node \
    && mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/src/main.js"]

FROM node:24-bookworm-slim AS cpu
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/native/build/Release/bitdial.node ./native/build/Release/bitdial.node
COPY --from=build /app/dist ./dist
COPY package.json ./
COPY models ./models
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 MODELS_DIR=/app/models DATA_DIR=/data
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/src/main.js"]
