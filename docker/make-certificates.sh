#!/usr/bin/env bash
# Makes a certificate authority and a certificate for each node, once. Run by docker-compose.yml.
set -euo pipefail

# The user of the EventStoreDB image.
readonly EVENTSTORE=1000:1000

# The tool writes only into new folders, and reports success even if it failed. Then the copies below fail.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -f /authority/ca.crt ]; then
  es-gencert-cli create-ca -out "$work/ca"
  cp "$work/ca/ca.key" "$work/ca/ca.crt" /authority/
fi
cp /authority/ca.crt /ca/ca.crt
chmod 644 /ca/ca.crt

for node in node1 node2 node3; do
  if [ ! -f "/nodes/$node/node.crt" ]; then
    es-gencert-cli create-node \
      -ca-certificate /authority/ca.crt -ca-key /authority/ca.key \
      -out "$work/$node" -ip-addresses 127.0.0.1 -dns-names "$node.eventstore,localhost"
    cp "$work/$node/node.key" "$work/$node/node.crt" "/nodes/$node/"
  fi
  chown -R "$EVENTSTORE" "/nodes/$node"
  chmod 600 "/nodes/$node/node.key"
done
