# The broker and nothing else: no npm, no compiler, no sandbox, no command line, no secret.
# For a build that can be repeated to the byte, add the digest to the tag: docker buildx imagetools inspect node:24-slim

FROM node:24.21.0-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY types ./types
COPY src ./src
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json

FROM node:24.21.0-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:24.21.0-slim
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn* \
  && install -d -o node -g node -m 0700 /var/lib/rolecall
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY templates ./templates
ENV NODE_ENV=production
USER node
VOLUME /var/lib/rolecall
EXPOSE 4400
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:4400/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# The semi-space bounds what garbage lies around; left to itself, V8 takes what the machine has (docs/performance.md). The
# old space is a hard end: V8 kills the process there, so it has room for a flood, and grows as slowly as with less.
ENTRYPOINT ["node", "--max-semi-space-size=16", "--max-old-space-size=512", "/app/dist/broker.js"]
CMD ["serve", "--config", "/etc/rolecall/rolecall.yaml"]
