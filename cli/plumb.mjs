#!/usr/bin/env node
// Plain JavaScript with built-ins only: it must run, and say so, on a Node.js that is too old for the rest.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 24 || (major === 24 && minor >= 15)) {
  await import('./plumb.ts');
} else {
  process.stderr.write(
    `plumb needs Node.js 24.15 or newer, this is ${process.versions.node}: install it, or use npm run plumb -- … in the checkout\n`,
  );
  process.exitCode = 2;
}
