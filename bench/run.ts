import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import * as commands from './commands.ts'
import * as consoled from './console.ts'
import * as eventstoredb from './eventstoredb.ts'
import * as history from './history.ts'
import * as live from './live.ts'
import * as loop from './loop.ts'
import { describeMachine } from './machine.ts'
import * as models from './models.ts'
import * as rest from './rest.ts'
import * as search from './search.ts'
import * as startup from './startup.ts'
import * as storeAppend from './store-append.ts'
import * as verify from './verify.ts'
import * as workspace from './workspace.ts'

/** `npm run bench [-- name…]`. Without names, all benches run and write the page; otherwise they only print their sections. */
const BENCHES = [
  { name: 'store-append', run: storeAppend.run },
  { name: 'eventstoredb', run: eventstoredb.run },
  { name: 'verify', run: verify.run },
  { name: 'history', run: history.run },
  { name: 'loop', run: loop.run },
  { name: 'commands', run: commands.run },
  { name: 'workspace', run: workspace.run },
  { name: 'live', run: live.run },
  { name: 'models', run: models.run },
  { name: 'rest', run: rest.run },
  { name: 'console', run: consoled.run },
  { name: 'search', run: search.run },
  { name: 'startup', run: startup.run },
] as const
const PAGE = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url))

const HEAD = `# Benchmarks

Each figure has its limit beside it, measured in the same run; one that is not what was asked is bold. Figures are medians of
alternating rounds, and ratios are medians of the rounds' ratios. \`npm run bench\` takes half an hour and writes this page, on a
machine that does nothing else. \`npm run bench -- loop\` prints one section and writes nothing.`

const { positionals: wanted, values } = parseArgs({
  allowPositionals: true,
  options: { help: { type: 'boolean', short: 'h' } },
})
const names = BENCHES.map(({ name }) => name).join(', ')
if (values.help) {
  console.log(
    `npm run bench [-- NAME…]\n\nNames: ${names}. Without one, all write docs/benchmarks.md.`,
  )
  process.exit(0)
}
const unknown = wanted.filter((name) => !BENCHES.some((bench) => bench.name === name))
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(', ')}. Choose from: ${names}.`)
  process.exit(1)
}

const machine = await describeMachine()
const sections: string[] = []
for (const { name, run } of BENCHES) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.error(`${name} …`)
  const began = performance.now()
  const section = (await run()).trim()
  console.error(`${name}: ${Math.round((performance.now() - began) / 1000)} s`)
  console.log(`${section}\n`)
  sections.push(section)
}

// The page holds the figures of one machine at one time, so it is only written by a run of all benches.
if (wanted.length === 0) {
  await writeFile(PAGE, `${[HEAD, machine, ...sections].join('\n\n')}\n`)
  console.error(`Written to ${PAGE}`)
}
