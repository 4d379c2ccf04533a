/**
 * `npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in|eventstoredb]`: real servers
 * under random faults, and every invariant checked from outside. The same seed makes the same plan: the
 * same faults in the same order, the same runs, the same replies. The scheduler of the machine decides which of
 * them coincide, so a failure may need some attempts to return.
 */
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { chaosRun } from './chaos-run.ts'

const Count = z.coerce.number().pipe(z.int().nonnegative())
const Options = z.strictObject({
  seed: Count.default(() => Math.floor(Math.random() * 2 ** 32)),
  kills: Count.default(40),
  runs: Count.pipe(z.int().positive()).default(6),
  seconds: Count.default(600),
  store: z.enum(['embedded', 'stand-in', 'eventstoredb']).optional(),
})

const USAGE = `npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in|eventstoredb]
The faults end after --kills servers were killed, or after --seconds. Without --store, there is one run over the
embedded store and one over the stand-in.

--store eventstoredb runs three servers on the EventStoreDB at EVENTSTORE_URL. Kill its nodes meanwhile.`

const text = { type: 'string' } as const
function given(): unknown {
  const names = Object.keys(Options.shape)
  try {
    return parseArgs({ options: Object.fromEntries(names.map((name) => [name, text])) }).values
  } catch (cause) {
    return refuse(cause instanceof Error ? cause.message : String(cause))
  }
}
function refuse(problem: string): never {
  console.error(`${problem}\n${USAGE}`)
  process.exit(2)
}

const parsed = Options.safeParse(given())
if (!parsed.success) refuse(z.prettifyError(parsed.error))
const { store: chosen, ...options } = parsed.data
const { EVENTSTORE_URL: url = '' } = process.env
if (chosen === 'eventstoredb' && url === '') refuse('--store eventstoredb needs EVENTSTORE_URL.')

console.log(`seed ${options.seed}`)
for (const store of chosen === undefined ? (['embedded', 'stand-in'] as const) : [chosen]) {
  const report = await chaosRun({ ...options, store, url })
  console.log(report.text)
  if (report.violations.length > 0) process.exitCode = 1
}
