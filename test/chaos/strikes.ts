import { CRASH_POINTS } from '../../src/server/crash-points.ts'
import { Random } from './random.ts'

/** What is done to the servers, the runs and the store. */
const WEIGHTS = {
  kill: 10,
  crash_point: 6,
  terminate: 1,
  stall: 3,
  abort: 1,
  configure: 2,
  visit: 4,
  second_server: 0.3,
} as const
/** Over the stand-in: what is done to the store and to two servers that share it. */
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

export type StrikeName = keyof typeof STORE_WEIGHTS
export type Strike = {
  readonly name: StrikeName
  /** Milliseconds before it. */
  readonly waitMs: number
  /** Whether a server that is just starting is left alone until it listens. */
  readonly whenListening: boolean
  /** Chooses the server and the run: a number from 0 up to, but never, 1. */
  readonly choice: number
  /** How long it lasts, where it does, milliseconds. */
  readonly lastsMs: number
  /** How often it is done, where that can be. */
  readonly times: number
  /** For a server that is to kill itself, as in RETRAI_CRASH_AT. */
  readonly crashAt: string
}

/** The plan of a storm: endless, and the same for the same seed. */
export function* strikes(seed: number, store: 'embedded' | 'stand-in'): Generator<Strike, never> {
  const random = new Random(seed, 'strikes', store)
  const weights = store === 'embedded' ? WEIGHTS : STORE_WEIGHTS
  for (;;) {
    yield {
      name: random.weighted<StrikeName>(weights),
      waitMs: random.int(0, 400),
      whenListening: random.chance(0.85),
      choice: random.next(),
      lastsMs: random.int(50, 1200),
      times: random.int(1, 3),
      crashAt: `${random.pick(CRASH_POINTS)}#${random.int(1, 4)}`,
    }
  }
}
