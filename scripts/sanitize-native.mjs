#!/usr/bin/env node
/**
 * Runs the native engine's tests under sanitizers: AddressSanitizer with UndefinedBehaviorSanitizer, then ThreadSanitizer.
 * Node itself is not instrumented, so reports about it are left out by native/test/*.supp. Needs g++ and its runtime
 * libraries. `node scripts/sanitize-native.mjs [address] [thread]`; BITDIAL_TEST_SHARE says how much of the tests.
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const kinds = process.argv.length > 2 ? process.argv.slice(2) : ['address', 'thread'];
const tests = [
  ...[
    'native',
    'native-winograd',
    'native-winograd-large',
    'native-tiles',
    'native-build',
    'native-loader',
    'native-threads',
  ].map((name) => `engine/${name}`),
  'tensorflow/native-operations',
];
const compiler = process.env.CXX || 'g++';

/** What each sanitizer needs beside the built addon. */
const SETTINGS = {
  // Node leaks by design at exit; the addon's own memory is counted by the tests.
  address: {
    library: 'libasan.so',
    env: { ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0', UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1' },
  },
  thread: {
    library: 'libtsan.so',
    env: {
      TSAN_OPTIONS: `suppressions=${join(root, 'native/test/tsan.supp')}:halt_on_error=0:exitcode=66:report_signal_unsafe=0`,
    },
  },
};

function run(command, args, env = {}) {
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) {
    console.error(`sanitize-native: ${args.join(' ')}: ended with ${signal ?? status}`);
    process.exit(1);
  }
}

for (const kind of kinds) {
  const { library, env } = SETTINGS[kind] ?? {};
  if (!library) throw new Error(`expected address or thread, got ${kind}`);
  run(process.execPath, [join(root, 'scripts/build-native.mjs'), '--require', `--sanitize=${kind}`]);
  const preload = spawnSync(compiler, [`-print-file-name=${library}`], { encoding: 'utf8' }).stdout.trim();
  for (const test of tests) {
    console.log(`sanitize-native: ${kind}: ${test}`);
    run(process.execPath, [join(root, `dist/test/${test}.test.js`)], {
      BITDIAL_TEST_SHARE: '0.1',
      ...env,
      LD_PRELOAD: preload,
      BITDIAL_ADDON: join(root, `native/build/${kind}/bitdial.node`),
    });
  }
  console.log(`sanitize-native: ${kind}: nothing found`);
}
