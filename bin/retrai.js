#!/usr/bin/env node
// What `npx retrai` starts. It also runs on a Node that is too old for the rest, and reports that.
import { existsSync } from 'node:fs'

const NEEDED = 24
const [major] = process.versions.node.split('.').map(Number)
if (major < NEEDED) {
  console.error(`retrai needs Node ${NEEDED} or newer; this is Node ${process.versions.node}.`)
  process.exit(1)
}
// A checkout has the sources and runs from them, an installed package has only what was built.
const source = new URL('../src/cli/retrai.ts', import.meta.url)
await import(existsSync(source) ? source.href : new URL('../dist/retrai.js', import.meta.url).href)
