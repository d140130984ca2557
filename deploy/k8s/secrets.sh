#!/usr/bin/env bash
# Prints the Secret that the manifests refer to, with random values: secrets.sh [NODES OF NATS] | kubectl apply -f -
# Once: other values would lock the cluster out of its own database.
set -euo pipefail
nodes="${1:-1}"

value() { openssl rand -hex 20; }
postgres=$(value) redis=$(value) cluster=$(value)

cat <<YAML
apiVersion: v1
kind: Secret
metadata: {name: objectql, namespace: objectql}
stringData:
  context-key: $(value)
  admin-password: $(value)
  postgres-password: $postgres
  postgres-url: postgresql://objectql:$postgres@objectql-postgres:5432/objectql
  redis-url: redis://:$redis@objectql-redis:6379/0
  redis-users.acl: user default on >$redis ~* &* +@all
YAML
passwords=""
for user in kernel coordinator gateway-rest gateway-ws gateway-grpc operator; do
  password=$(value)
  echo "  bus-$user: $password"
  passwords+="    bus_${user//-/_}: \"$password\""$'\n'
done
printf '  bus-passwords.conf: |\n%s' "$passwords"
if [ "$nodes" -gt 1 ]; then
  printf '    bus_cluster: "%s"\n    bus_routes: [\n' "$cluster"
  for ((node = 0; node < nodes; node++)); do
    echo "      \"nats://cluster:$cluster@objectql-nats-$node.objectql-nats-nodes:6222\""
  done
  echo "    ]"
fi
