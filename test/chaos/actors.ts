import type { Fault, ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'
import { leaves } from './ledger.ts'
import { isAside } from './plans.ts'
import { Random } from './random.ts'

/** The limit of memory of a command, which some calls exceed. */
export const MEMORY_MIB = 96
const READING = { read: 4, search: 2 } as const
const COMMANDS_OFTEN = { write: 8, long: 2, slow: 3, stubborn: 2, greedy: 1 } as const
/** What a command does after it has left its entry. */
const COMMANDS: Readonly<Record<keyof typeof COMMANDS_OFTEN, (entry: string) => string>> = {
  write: () => '',
  // Too long for a record: it becomes an artifact.
  long: (entry) => `yes ${entry} | head -c 40000`,
  slow: () => 'sleep 0.3',
  stubborn: () => 'trap "" TERM; (setsid sleep 1 &); sleep 0.5; wait',
  greedy: () => `head -c ${2 * MEMORY_MIB}M /dev/zero | tail | wc -c`,
}

/** The client and the model of a chaos run: what each run is asked for, and what the model replies, by the seed alone. */
export class Actors {
  readonly #seed: number
  #replies = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  /** The body of the request for the run with this number. */
  body(run: number): Readonly<Record<string, unknown>> {
    const random = new Random(this.#seed, 'body', run)
    return {
      max_iterations: random.int(2, 5),
      max_turns_per_iteration: random.int(1, 4),
      hitl_enabled: random.chance(0.4),
    }
  }

  /** The next reply of the model, in the run with the project folder `run-<number>`. */
  reply(request: ScriptedRequest): Turn | Fault {
    const run = Number(/\/run-(\d+)\./.exec(request.conversation)?.[1])
    const random = new Random(this.#seed, 'turn', run, request.turn)
    if (isAside(request.messages) && random.chance(0.8)) return { text: 'Much was done.' }
    const goalAt = new Random(this.#seed, 'goal', run).int(1, 4)
    if (random.chance(0.01)) return { status: 401 }
    if (random.chance(0.1)) return { text: 'I think it is done.' }
    const first = random.chance(0.06) ? [random.pick(FAULTS)] : []
    const calls = Array.from({ length: random.int(0, 3) }, () => this.#call(random))
    if (request.turn >= goalAt) calls.push(bash(leaves(this.#entry(), 'touch done')))
    return { delayMs: random.int(0, 150), first, calls }
  }

  #call(random: Random) {
    const kind = random.weighted({ ...COMMANDS_OFTEN, ...READING, bad: 1 })
    if (kind === 'read') return { tool: 'file_read', args: { path: '.retrai.yml' } }
    if (kind === 'search') return { tool: 'grep_search', args: { pattern: 'check' } }
    if (kind === 'bad') {
      return { tool: random.pick(['rm_rf', 'file_read']), args: { wrong: true } }
    }
    const entry = this.#entry()
    return bash(leaves(entry, COMMANDS[kind](entry)))
  }

  /** Each entry is in one reply only, so the entries on disk show which calls ran. */
  #entry(): string {
    this.#replies += 1
    return `entry-${this.#replies}`
  }
}

const bash = (command: string) => ({ tool: 'bash_exec', args: { command } })

const FAULTS: readonly Fault[] = [
  { status: 503 },
  { status: 429, headers: { 'retry-after': '1' } },
  { fault: 'drop' },
  { fault: 'cut' },
  { fault: 'garbage' },
  { fault: 'empty' },
]
