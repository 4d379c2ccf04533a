# Built apart: what builds the package is not needed to run it.
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json tsdown.config.ts ./
RUN npm ci --no-audit --no-fund
COPY src ./src
COPY web ./web
RUN npm run build

FROM node:24-trixie-slim

# What the agent works with: it runs commands, isolates them, reads history, and checks goals. tini collects what they leave dead.
RUN apt-get update \
 && apt-get install -y --no-install-recommends bash bubblewrap ca-certificates git iproute2 passt procps python3 python3-pytest tini util-linux \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force
COPY bin ./bin
COPY --from=build /app/dist ./dist
COPY --from=build /app/web/dist ./web/dist

# The server keeps its data in /data, and copies of projects in /data-copies; runs work in projects under /workspace.
RUN mkdir --mode 0700 /data && mkdir /data-copies /workspace && chown node:node /data /data-copies /workspace
USER node
WORKDIR /workspace
ENV NODE_ENV=production RETRAI_DATA_DIR=/data RETRAI_LISTEN=0.0.0.0:8000
VOLUME ["/data", "/data-copies", "/workspace"]
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.RETRAI_LISTEN.split(':').pop()}/health/ready`).then(async (r) => { if (!r.ok) throw Error(await r.text()) }).catch((e) => { console.error(e.message); process.exit(1) })"]

# Outside of loopback the server needs a token: RETRAI_TOKEN, or one that an earlier start has made.
ENTRYPOINT ["tini", "--", "node", "/app/bin/retrai.js"]
CMD ["serve"]
