/**
 * `npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in]`: real servers
 * under random strikes, and every invariant checked from outside. The same seed makes the same plan: the
 * same strikes in the same order, the same runs, the same replies. Which of them meet is up to the
 * scheduler of the machine, so a failure comes back soon, not at once.
 */
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { tell } from './report.ts'
import { runStorm } from './storm.ts'

const Count = z.coerce.number().pipe(z.int().nonnegative())
const Options = z.strictObject({
  seed: Count.default(() => Math.floor(Math.random() * 2 ** 32)),
  kills: Count.default(40),
  runs: Count.pipe(z.int().positive()).default(6),
  seconds: Count.default(600),
  store: z.enum(['embedded', 'stand-in']).optional(),
})

const USAGE =
  'npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in]\n' +
  'Strikes go on until so many servers were killed or so many seconds are over.'

const text = { type: 'string' } as const
function given(): unknown {
  try {
    return parseArgs({
      options: { seed: text, kills: text, runs: text, seconds: text, store: text },
    }).values
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
console.log(`seed ${options.seed}`)
for (const store of chosen === undefined ? (['embedded', 'stand-in'] as const) : [chosen]) {
  const report = await runStorm({ ...options, store })
  console.log(tell(report))
  if (report.violations.length > 0) process.exitCode = 1
}
