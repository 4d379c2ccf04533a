import { CRASH_POINTS, RUNNER_CRASH_POINTS } from '../support/crash-points.ts'
import { LEASE_MS, type StoreName } from './environment.ts'
import { Random } from './random.ts'
import type { Slot } from './slot.ts'
import type { World } from './world.ts'

/** How often each fault comes, in proportion to the others. */
const WEIGHTS = {
  kill: 10,
  crash_point: 6,
  crash_runner: 3,
  terminate: 1,
  stall: 3,
  abort: 1,
  configure: 2,
  visit: 4,
  second_server: 0.3,
  kill_runner: 3,
  stall_runner: 2,
  strand_runner: 1,
} as const
/** Over the stand-in there are also faults of the store, and of two servers that share it. */
const STORE_WEIGHTS = {
  ...WEIGHTS,
  second_server: 0,
  take_over: 4,
  cut: 3,
  lose_answers: 3,
  stay_silent: 0.5,
  swallow: 0.5,
  slow: 2,
  down: 2,
  freeze: 1,
  end_subscriptions: 2,
  fail_subscriptions: 1,
  fall_behind: 1,
} as const
/** For each store. A real EventStoreDB has only the faults of servers that share it. */
const WEIGHTS_OF = {
  embedded: WEIGHTS,
  'stand-in': STORE_WEIGHTS,
  eventstoredb: { ...WEIGHTS, second_server: 0, take_over: 4 },
}

export type FaultName = keyof typeof STORE_WEIGHTS
export type PlannedFault = {
  readonly name: FaultName
  /** How long to wait before it, milliseconds. */
  readonly waitMs: number
  /** Whether the fault waits until the server listens. */
  readonly whenListening: boolean
  /** Chooses the server and the run: a number of at least 0 and less than 1. */
  readonly choice: number
  /** How long it lasts, milliseconds, if it lasts. */
  readonly lastsMs: number
  /** How often it is repeated, if it can be. */
  readonly times: number
  /** Where the server kills itself, as in RETRAI_CRASH_AT. */
  readonly crashAt: string
  /** Where its runner kills itself, in a call of a tool. */
  readonly crashRunnerAt: string
}

/** A runner that stops itself is killed only much later: `stall_runner` and `strand_runner` stop it for a while. */
const RUNNER_KILLS = RUNNER_CRASH_POINTS.filter((point) => point.startsWith('runner killed'))

/** The faults of a chaos run: endless, and the same for the same seed. */
export function* faultPlan(seed: number, store: StoreName): Generator<PlannedFault, never> {
  const random = new Random(seed, 'faults', store)
  for (;;) {
    yield {
      name: random.weighted<FaultName>(WEIGHTS_OF[store]),
      waitMs: random.int(0, 400),
      whenListening: random.chance(0.85),
      choice: random.next(),
      lastsMs: random.int(50, 1200),
      times: random.int(1, 3),
      crashAt: `${random.pick(CRASH_POINTS)}#${random.int(1, 4)}`,
      crashRunnerAt: `${random.pick(RUNNER_KILLS)}#${random.int(1, 4)}`,
    }
  }
}

/** Applies a fault. If the fault lasts, `keep` gets the promise of its end. */
export async function applyFault(
  { name, lastsMs, ...fault }: PlannedFault,
  slot: Slot,
  world: World,
  keep: (lasting: Promise<void> | undefined) => void,
): Promise<void> {
  const run = world.runUnderWay(fault.choice)
  switch (name) {
    case 'kill':
      // If there is a second server, this one stays away for a while.
      return slot.kill(world.slots.length > 1 ? lastsMs : 0)
    case 'crash_point':
      return slot.kill(0, { RETRAI_CRASH_AT: fault.crashAt })
    case 'crash_runner':
      return slot.kill(0, { RETRAI_CRASH_AT: fault.crashRunnerAt })
    case 'terminate':
      return slot.terminate()
    case 'stall':
      return keep(slot.stall(lastsMs))
    case 'kill_runner':
      return slot.signalRunner('SIGKILL')
    case 'stall_runner':
      return keep(slot.stall(lastsMs, 'signalRunner'))
    case 'strand_runner':
      // The server dies while its runner cannot notice it.
      slot.signalRunner('SIGSTOP')
      return slot.kill(0)
    case 'take_over':
      // It is silent for longer than its lease: the others take all its runs before it can know.
      return keep(slot.stall(LEASE_MS + 2 * lastsMs))
    case 'abort':
      return run?.do((person, runId) => person.abort(runId))
    case 'configure':
      return run?.do((person, runId) => person.configure(runId))
    case 'visit':
      return keep(run?.visit(lastsMs))
    case 'second_server':
      return startSecond(slot, world)
    default:
      return keep(world.environment.faults[name]?.({ name, lastsMs, ...fault }))
  }
}

/** A second server on the data folder of the first refuses to start, with a reason. */
async function startSecond(slot: Slot, world: World): Promise<void> {
  const [dataDir = ''] = world.environment.dataDirs
  if (!slot.steady) return
  const second = world.server(dataDir)
  if ((await second.url) !== null) world.finds('two servers work on the same data folder')
  second.kill('SIGKILL')
  const { code } = await second.exit
  if (code !== 1 || !second.output.includes(dataDir)) {
    world.finds(`a second server ended with ${code}:\n${second.output}`)
  }
}
