# One image for the hub and both mock partners; the command picks which one runs:
#   hub            the default, as `npm run start:hub`
#   mock operator  node dist/mocks/operator/main.js
#   mock RGS       node dist/mocks/rgs/main.js

# The same Node that package.json pins for development.
ARG NODE_VERSION=24.21.0

FROM node:${NODE_VERSION}-slim AS build
WORKDIR /app
# Packages before sources: this layer is rebuilt only when the lock file changes.
COPY package.json package-lock.json ./
# The optional packages are a second Node, an embedded Postgres and compilers for the tests; the image has the first, is
# given a database, and runs no tests. Nothing in the build needs an install script.
RUN npm ci --include=dev --omit=optional --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json nest-cli.json ./
COPY src ./src
COPY mocks ./mocks
RUN npm run build

FROM node:${NODE_VERSION}-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:${NODE_VERSION}-slim AS runtime
WORKDIR /app
# Safe when run bare: with NODE_ENV=production the hub refuses to start on default secrets. docker-compose.yml sets
# development instead, since it is for trying things out.
# HOST: inside a container only the container itself could reach a server on the loopback address.
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    HEALTH_PATH=/health/ready
COPY package.json ./
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# Files belong to root and the process does not: it cannot change its own code.
USER node
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
# For a mock, or another port, set PORT and HEALTH_PATH.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}${process.env.HEALTH_PATH}`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--expose-gc", "--no-separate-gc-phases", "--max-semi-space-size=16", "--max-old-space-size=512", "dist/src/main.js"]
