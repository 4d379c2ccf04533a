/**
 * `npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in|eventstoredb]`, or
 * `npm run chaos -- --trial crash-loop|cut-off`: real servers
 * under random faults, and every invariant checked from outside. The same seed makes the same plan: the
 * same faults in the same order, the same runs, the same replies. The scheduler of the machine decides which of
 * them coincide, so a failure may need some attempts to return.
 */
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { chaosRun } from './chaos-run.ts'
import type { Cluster } from './eventstoredb-environment.ts'
import { reportText } from './report.ts'
import { crashLoop, cutOff, trialText } from './trials.ts'

const Count = z.coerce.number().pipe(z.int().nonnegative())
const Options = z.strictObject({
  seed: Count.default(() => Math.floor(Math.random() * 2 ** 32)),
  kills: Count.optional(),
  runs: Count.pipe(z.int().positive()).default(6),
  seconds: Count.default(600),
  trial: z.enum(['crash-loop', 'cut-off']).optional(),
  rounds: Count.default(2),
  store: z.enum(['embedded', 'stand-in', 'eventstoredb']).optional(),
  nodes: Count.pipe(z.int().positive()).default(3),
  'kill-node': z.string().optional(),
  'stop-node': z.string().optional(),
  'start-node': z.string().optional(),
})

const USAGE = `npm run chaos [-- --seed N --kills N --runs N --seconds N --store embedded|stand-in|eventstoredb]
The faults end after --kills servers were killed, or after --seconds. Without --store, there is one run over the
embedded store and one over the stand-in.

--trial crash-loop kills a server --kills times (100), each time at most a second after it was ready. Its runs have checks
of five seconds. --trial cut-off cuts three servers on the stand-in off from it, one alone at a time, for three leases of
five seconds, in turn, --rounds times (2).

--store eventstoredb runs three servers on the EventStoreDB at EVENTSTORE_URL. Its nodes are left alone, unless these
shell commands act on them. Each gets the index of a node, from 0, as its last argument:
  --kill-node CMD   ends a node at once, such as 'docker kill node'
  --stop-node CMD   asks a node to stop, or halts it
  --start-node CMD  lets a node serve again that was killed or stopped
  --nodes N         how many nodes there are (3)`

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
const {
  store: chosen,
  trial,
  rounds,
  nodes,
  'kill-node': killNode,
  'stop-node': stopNode,
  'start-node': startNode,
  ...options
} = parsed.data

function clusterOf(): Cluster {
  const { EVENTSTORE_URL: url = '' } = process.env
  if (url === '') refuse('--store eventstoredb needs EVENTSTORE_URL.')
  if ((killNode ?? stopNode) !== undefined && startNode === undefined) {
    refuse('--kill-node and --stop-node need --start-node.')
  }
  return { url, nodes, killNode, stopNode, startNode }
}

console.log(`seed ${options.seed}`)
if (trial !== undefined) {
  const { seed, runs, kills = 100 } = options
  const plan = { seed, runs, checkSeconds: 5 }
  const report =
    trial === 'crash-loop'
      ? await crashLoop({ ...plan, kills })
      : await cutOff({ ...plan, rounds, leaseSeconds: 5 })
  console.log(trialText(trial, report))
  process.exit(report.violations.length > 0 ? 1 : 0)
}
for (const store of chosen === undefined ? (['embedded', 'stand-in'] as const) : [chosen]) {
  const cluster = store === 'eventstoredb' ? clusterOf() : undefined
  const report = await chaosRun({ ...options, kills: options.kills ?? 40, store, cluster })
  console.log(reportText(report))
  if (report.violations.length > 0) process.exitCode = 1
}
