#!/usr/bin/env bash
# Builds one image per service: $OQL_IMAGE_PREFIX<service>:$OQL_IMAGE_TAG, by default objectql/<service>:latest.
# OQL_IMAGE_BASE names another base than python:3.11-slim. An index of your own is taken from PIP_INDEX_URL and
# PIP_EXTRA_INDEX_URL; a proxy from the usual variables.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v docker >/dev/null || { echo "make images needs the docker program" >&2; exit 1; }
if ! said="$(docker version --format '{{.Server.Version}}' 2>&1)"; then
  echo "make images needs a Docker engine, and none answers: ${said#$'\n'}" >&2
  exit 1
fi
# Without a value docker passes on the variable of this shell, and nothing where there is none.
arguments=()
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL http_proxy https_proxy no_proxy; do arguments+=(--build-arg "$name"); done
[ -z "${OQL_IMAGE_BASE:-}" ] || arguments+=(--build-arg "BASE=$OQL_IMAGE_BASE")

for service in kernel gateway-rest gateway-ws gateway-grpc coordinator; do
  image="${OQL_IMAGE_PREFIX-objectql/}$service:${OQL_IMAGE_TAG:-latest}"
  said="$(docker build "${arguments[@]}" --target "$service" --tag "$image" --file deploy/docker/Dockerfile . 2>&1)" \
    || { echo "$said" >&2; exit 1; }
  echo "$image $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1e6}')"
done
